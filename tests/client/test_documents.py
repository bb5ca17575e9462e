import asyncio
import json
import operator
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_engine import Behaviour, FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from pdfs import a_pdf
from pydantic import BaseModel, SecretStr

from client.ask import ask_whole
from client.documents import HANDBOOK, LIMIT_BYTES, read_document
from client.prompt import Prompt, new_nonce
from client.documents import BYTE_ORDER_MARKS, FORMATS, decode_text
from client.tokenizer import count_tokens, fit_to_context, post_tokenizer
from config.errors import ArenaError, DocumentError, EngineRefused, EngineUnreachable
from config.paths import ROOT
from config.topology import Engine, ServiceKind

GIVE_FEWER = "give fewer, or choose a MODEL that takes them"


@contextmanager
def tokenizer(status, answer):
    """A server whose /tokenize answers so; with None, not before it is left."""
    left, keys = threading.Event(), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            keys.append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers["Content-Length"]))
            if answer is None:
                left.wait(20)
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = server.server_port
    yield Engine("other", ServiceKind.PLAIN, "a", port, f"http://127.0.0.1:{port}"), keys
    left.set()
    server.shutdown()
    server.server_close()
    thread.join()


def counted(status, answer):
    with tokenizer(status, answer) as (engine, _), pytest.raises(ArenaError) as caught:
        asyncio.run(count_tokens(engine, Prompt("what is it?")))
    return caught.value


SHAPES = [{}, [], [1], "ok", {"tokens": [1]}, *({"count": n, "max_model_len": 1} for n in ("9", True, -1, 1.5))]


@pytest.mark.parametrize("answer", SHAPES)
def test_an_answer_in_another_shape_than_vllms_is_an_error_of_ours(answer):
    error = counted(200, answer)
    assert isinstance(error, DocumentError)
    assert "name a vLLM server" in str(error)


def test_media_that_the_model_does_not_take_are_told_as_the_client_tells_them():
    error = counted(400, {"error": {"message": "At most 1 image(s) may be provided in one prompt."}})
    assert isinstance(error, EngineRefused)
    assert str(error).endswith("HTTP 400: At most 1 image(s) may be provided in one prompt: " + GIVE_FEWER)


def test_what_else_a_tokenizer_refuses_is_in_its_own_words():
    assert (
        str(counted(400, {"error": {"message": "no such thing"}})) == "other cannot tokenize this text: no such thing"
    )
    assert str(counted(404, {})) == "other cannot tokenize this text: {}"
    assert isinstance(counted(503, {}), EngineRefused)


def test_a_tokenizer_that_takes_its_time_is_not_said_to_be_down():
    with tokenizer(200, None) as (engine, _), pytest.raises(EngineUnreachable, match=r"within 0\.1 s; it is busy"):
        asyncio.run(post_tokenizer(engine, "tokenize", {}, BaseModel, timeout_s=0.1))


@pytest.mark.parametrize("key", ["", "k"])
def test_the_key_of_a_server_goes_along_and_no_other(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")
    with tokenizer(200, {"count": 3, "max_model_len": 100}) as (engine, keys):
        engine = replace(engine, key=SecretStr(key) if key else None)
        _, count, limit = asyncio.run(count_tokens(engine, Prompt("what is it?", max_tokens=10)))
    assert (count, limit, keys) == (3, 90, ["Bearer k" if key else None])


def test_the_handbook_is_a_document():
    assert "FFmpeg" in read_document(HANDBOOK)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_its_encoding(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_text("Größe", encoding=encoding)
    assert read_document(path) == "Größe"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\xff", "is an image"),
        (b"a\0b", "not text"),
        (b"\xff\xfea", "not UTF-16 at byte 2"),
        ("Größe".encode("latin-1"), "not UTF-8 at byte 2"),
        (b"PK\x03\x04 word/document.xml", "save it as PDF"),
        (b"{\\rtf1 text}", "RTF"),
        ("Größe".encode("utf-16-le"), "UTF-16 without its mark"),
        (b" \n", "empty"),
        (b"x" * (LIMIT_BYTES + 1), "limit"),
    ],
)
def test_what_is_no_usable_text_is_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "document"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=said):
        read_document(path)


@pytest.mark.parametrize("name", ["none.txt", ".", "nul\0byte", "loop", "x" * 300])
def test_what_cannot_be_opened_is_an_error_of_ours(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path / name)


@pytest.fixture
def piped():
    """The read end of a pipe, and a writer of bytes to it that closes it behind them."""
    read_end, write_end = os.pipe()
    with ThreadPoolExecutor(1) as pool:

        def write(content):
            def work():
                with os.fdopen(write_end, "wb") as file:
                    file.write(content)

            pool.submit(work)

        yield read_end, write
        os.close(read_end)


LONG = b"A canal was dug. " * 30_000  # more than a pipe takes at once


def test_all_that_comes_through_a_pipe_is_read(piped):
    read_end, write = piped
    write(LONG)
    assert read_document(Path(f"/dev/fd/{read_end}")) == LONG.decode()


def test_a_pdf_may_come_through_a_pipe(piped, tmp_path):
    read_end, write = piped
    write(a_pdf(tmp_path / "canal.pdf", pages=20).read_bytes())
    assert read_document(Path(f"/dev/fd/{read_end}")).count("A canal was dug.") == 20


def test_a_named_pipe_is_read_once_and_whole(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fifo.write_bytes, LONG)
        assert read_document(fifo) == LONG.decode()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_the_standard_input_is_a_document(name):
    code = (
        "import sys, pathlib; from client import documents as d; print(len(d.read_document(pathlib.Path(sys.argv[1]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, name], input=LONG, capture_output=True, cwd=ROOT, check=True)
    assert int(done.stdout) == len(LONG)


@pytest.mark.parametrize(("device", "said"), [("/dev/zero", "over the limit"), ("/dev/null", "is empty")])
def test_a_device_is_bounded_as_a_file_is(device, said):
    with pytest.raises(DocumentError, match=said):
        read_document(Path(device))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.builds(operator.add, st.sampled_from([*BYTE_ORDER_MARKS, *FORMATS]), st.binary(max_size=60)),
    )
)
def test_any_bytes_are_text_or_an_error_of_ours(raw):
    with suppress(DocumentError):
        text = decode_text(raw, "file")
        assert text.strip()
        assert "\0" not in text


@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_damage_to_a_pdf_is_text_or_an_error_of_ours(data):
    with TemporaryDirectory() as folder:
        path = a_pdf(Path(folder) / "canal.pdf", password=data.draw(st.sampled_from([None, ""])), algorithm="AES-128")
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(0, 8))):
            raw[data.draw(st.integers(5, len(raw) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(raw[: data.draw(st.integers(8, len(raw)))])
        with suppress(DocumentError):
            assert isinstance(read_document(path), str)


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question):
    with pytest.raises(DocumentError, match="empty"):
        Prompt(question)


def test_the_nonce_opens_the_prompt_and_the_question_ends_it():
    messages = Prompt("Why?", "A document.", "n0nce").messages
    assert messages[0]["content"].startswith("n0nce ")
    assert messages[0]["content"].endswith("A document.")
    assert messages[-1] == {"role": "user", "content": "Why?"}


def test_nonces_do_not_repeat():
    assert len({new_nonce() for _ in range(1000)}) == 1000


def test_a_model_without_a_system_role_gets_all_in_the_users_message():
    prompt = Prompt("what is it?", "a b c", "00ff")
    with FakeEngine("plain-a", Behaviour(user_only=True)) as fake:
        fitted = asyncio.run(fit_to_context(fake.engine, prompt, cut=False))
        reply = asyncio.run(ask_whole(fake.engine, fitted))
    (message,) = fitted.messages
    assert message["role"] == "user"
    assert message["content"].startswith("00ff ")
    assert message["content"].endswith("what is it?")
    assert reply.text


def test_a_model_with_a_system_role_gets_one():
    with FakeEngine("plain-a") as fake:
        fitted = asyncio.run(fit_to_context(fake.engine, Prompt("what is it?", "a b c"), cut=False))
    assert [message["role"] for message in fitted.messages] == ["system", "user"]
