import asyncio

import pytest
from fake_engine import Behaviour, FakeEngine

from engines.client import reply_to
from engines.document import HANDBOOK, LIMIT_BYTES, fit, read_document
from engines.errors import DocumentError
from engines.prompt import Prompt, new_nonce


def test_the_handbook_is_a_document():
    assert "FFmpeg" in read_document(HANDBOOK)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_in_its_encoding(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_text("Größe", encoding=encoding)
    assert read_document(path) == "Größe"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\xff", "not text"),
        (b"a\0b", "not text"),
        (b" \n", "empty"),
        (b"x" * (LIMIT_BYTES + 1), "limit"),
    ],
)
def test_what_is_no_usable_text_is_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "document"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=said):
        read_document(path)


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path / "none.txt")


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
        fitted = asyncio.run(fit(fake.engine, prompt, cut=False))
        reply = asyncio.run(reply_to(fake.engine, fitted))
    (message,) = fitted.messages
    assert message["role"] == "user"
    assert message["content"].startswith("00ff ")
    assert message["content"].endswith("what is it?")
    assert reply.text


def test_a_model_with_a_system_role_gets_one():
    with FakeEngine("plain-a") as fake:
        fitted = asyncio.run(fit(fake.engine, Prompt("what is it?", "a b c"), cut=False))
    assert [message["role"] for message in fitted.messages] == ["system", "user"]
