import operator
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdfs import a_pdf

from client.documents import BYTE_ORDER_MARKS, FORMATS, HANDBOOK, LIMIT_BYTES, decode_text, read_document
from config.errors import DocumentError
from config.paths import ROOT

LONG = b"A canal was dug. " * 30_000  # more than a pipe takes at once
always = settings(deadline=None, derandomize=True)


@pytest.fixture
def document(tmp_path):
    """A file with this content."""

    def write(content):
        (tmp_path / "document").write_bytes(content)
        return tmp_path / "document"

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_its_encoding(document, encoding):
    assert read_document(document("Größe".encode(encoding))) == "Größe"


@pytest.mark.parametrize(
    ("content", "reason"),
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
def test_what_is_no_usable_text_is_refused_with_the_reason(document, content, reason):
    with pytest.raises(DocumentError, match=reason):
        read_document(document(content))


@pytest.mark.parametrize("name", ["none.txt", ".", "nul\0byte", "loop", "x" * 300])
def test_what_cannot_be_opened_is_an_error_of_ours(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path / name)


def through_pipe(content):
    read_end, write_end = os.pipe()

    def write():
        with os.fdopen(write_end, "wb") as file:
            file.write(content)

    with ThreadPoolExecutor(1) as pool, os.fdopen(read_end):
        pool.submit(write)
        return read_document(Path(f"/dev/fd/{read_end}"))


def test_all_that_comes_through_a_pipe_is_read_once_and_whole(tmp_path):
    assert through_pipe(LONG) == LONG.decode()
    assert through_pipe(a_pdf(tmp_path / "canal.pdf", pages=20).read_bytes()).count("A canal was dug.") == 20
    os.mkfifo(tmp_path / "fifo")
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "fifo").write_bytes, LONG)
        assert read_document(tmp_path / "fifo") == LONG.decode()


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_the_standard_input_is_a_document(name):
    code = (
        "import sys, pathlib; from client import documents as d; print(len(d.read_document(pathlib.Path(sys.argv[1]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, name], input=LONG, capture_output=True, cwd=ROOT, check=True)
    assert int(done.stdout) == len(LONG)


@pytest.mark.parametrize(("device", "reason"), [("/dev/zero", "over the limit"), ("/dev/null", "is empty")])
def test_a_device_is_bounded_as_a_file_is(device, reason):
    with pytest.raises(DocumentError, match=reason):
        read_document(Path(device))


def test_the_handbook_is_a_document():
    assert "FFmpeg" in read_document(HANDBOOK)


@settings(always, max_examples=150)
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


@settings(always, max_examples=8)
@given(data=st.data())
def test_any_damage_to_a_pdf_is_text_or_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.pdf"
    a_pdf(path, password=data.draw(st.sampled_from([None, ""])), algorithm="AES-128")
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        raw[data.draw(st.integers(5, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(8, len(raw)))])
    with suppress(DocumentError):
        assert isinstance(read_document(path), str)
