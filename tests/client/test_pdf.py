import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pdfs import a_pdf

from client.documents import read_document
from client.pdf import LIMIT_BYTES, LIMIT_CHARACTERS, LIMIT_PAGES
from config.errors import DocumentError
from config.paths import ROOT

ALGORITHMS = ("RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256")


def test_the_text_of_a_pdf_is_read(tmp_path):
    assert "A canal was dug." in read_document(a_pdf(tmp_path / "canal.pdf"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"password": "secret"}, "encrypted"),
        ({"text": ""}, "scan"),
        ({"pages": LIMIT_PAGES + 1}, "501 pages"),
        ({"text": "x" * (LIMIT_CHARACTERS + 1)}, "2,097,153 characters"),
    ],
)
def test_a_pdf_without_text_for_us_says_why(tmp_path, given, said):
    with pytest.raises(DocumentError, match=said):
        read_document(a_pdf(tmp_path / "canal.pdf", **given))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_pdf_whose_permissions_alone_are_encrypted_is_read(tmp_path, algorithm):
    path = a_pdf(tmp_path / "canal.pdf", password="", owner="secret", algorithm=algorithm)
    assert "A canal was dug." in read_document(path)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_pdf_with_a_password_is_said_to_have_one(tmp_path, algorithm):
    with pytest.raises(DocumentError, match="is encrypted: save it without a password"):
        read_document(a_pdf(tmp_path / "canal.pdf", password="secret", algorithm=algorithm))


@pytest.mark.parametrize("before", [b"\n", b"\xef\xbb\xbf", b"\xff\xfe", b"x" * 1023, b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("password", [None, ""])
def test_what_stands_before_the_header_of_a_pdf_does_not_make_it_text(tmp_path, before, password):
    path = a_pdf(tmp_path / "canal.pdf", before=before, password=password, algorithm="AES-256", owner="secret")
    assert "A canal was dug." in read_document(path)


def test_a_text_about_pdf_is_text(tmp_path):
    path = tmp_path / "about.md"
    path.write_text("Each file begins with %PDF-1.7, and its readers look for %%EOF at its end.")
    assert read_document(path).startswith("Each file")


def test_a_damaged_pdf_says_so(tmp_path):
    path = a_pdf(tmp_path / "canal.pdf")
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DocumentError, match="damaged"):
        read_document(path)


def test_a_huge_pdf_is_not_given_to_a_parser(tmp_path):
    path = tmp_path / "huge.pdf"
    with path.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        file.truncate(LIMIT_BYTES + 1)
    with pytest.raises(DocumentError, match="over the limit"):
        read_document(path)


def test_a_relative_path_counts_from_where_the_caller_is(tmp_path, monkeypatch):
    a_pdf(tmp_path / "canal.pdf")
    monkeypatch.chdir(tmp_path)
    assert "A canal was dug." in read_document(Path("canal.pdf"))


def test_a_reader_that_is_killed_takes_its_parser_with_it():
    code = "import sys; from client import pdf; pdf.subprocess.run([sys.executable, '-c', CHILD])"
    child = "from config.child_process import die_with_parent as d; d(); print('ready', flush=True); input()"
    code = f"CHILD = {child!r}; {code}"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
