import os
import signal
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import psutil
import pytest
from pdfs import a_pdf

from client.documents import read_document
from client.pdf import LIMIT_BYTES, LIMIT_CHARACTERS, LIMIT_PAGES, MEMORY_BYTES, TIMEOUT_S
from config.errors import DocumentError
from config.paths import ROOT
from launch.supervised import is_alive

ALGORITHMS = ("RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256")
BEFORE = [b"\n", b"\xef\xbb\xbf", b"\xff\xfe", b"x" * 1023, b"HTTP/1.1 200 OK\r\n\r\n"]
PERMISSIONS_ONLY = {"password": "", "owner": "secret"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        *({**PERMISSIONS_ONLY, "algorithm": algorithm} for algorithm in ALGORITHMS),
        *({"before": before} for before in BEFORE),
        *({"before": before, **PERMISSIONS_ONLY, "algorithm": "AES-256"} for before in BEFORE),
    ],
)
def test_the_text_of_a_pdf_is_read_whatever_is_before_its_header_and_without_its_permissions(tmp_path, given):
    assert "A canal was dug." in read_document(a_pdf(tmp_path / "canal.pdf", **given))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        *(
            ({"password": "secret", "algorithm": each}, "is encrypted: save it without a password")
            for each in ALGORITHMS
        ),
        ({"text": ""}, "scan"),
        ({"pages": LIMIT_PAGES + 1}, "501 pages"),
        ({"text": "x" * (LIMIT_CHARACTERS + 1)}, "2,097,153 characters"),
    ],
)
def test_a_pdf_without_text_for_us_says_why(tmp_path, given, reason):
    with pytest.raises(DocumentError, match=reason):
        read_document(a_pdf(tmp_path / "canal.pdf", **given))


def test_a_text_about_pdf_is_text(tmp_path):
    path = tmp_path / "about.md"
    path.write_text("Each file begins with %PDF-1.7, and its readers look for %%EOF at its end.")
    assert read_document(path).startswith("Each file")


@pytest.mark.parametrize(("size", "reason"), [(150, "damaged"), (LIMIT_BYTES + 1, "over the limit")])
def test_a_damaged_or_huge_pdf_says_so(tmp_path, size, reason):
    path = a_pdf(tmp_path / "canal.pdf")
    os.truncate(path, size)
    with pytest.raises(DocumentError, match=reason):
        read_document(path)


def test_a_relative_path_counts_from_the_callers_folder(tmp_path, monkeypatch):
    a_pdf(tmp_path / "canal.pdf")
    monkeypatch.chdir(tmp_path)
    assert "A canal was dug." in read_document(Path("canal.pdf"))


def test_a_parser_has_so_much_memory_and_processor_time():
    limits = "repr([resource.getrlimit(each) for each in (resource.RLIMIT_AS, resource.RLIMIT_CPU)])"
    code = f"import resource; from client import pdf; pdf._extract = lambda *_: {limits}; pdf.main()"
    found = subprocess.run([sys.executable, "-c", code, "0"], cwd=ROOT, input=b"", capture_output=True, check=True)
    assert literal_eval(found.stdout.decode()) == [(MEMORY_BYTES, MEMORY_BYTES), (TIMEOUT_S, TIMEOUT_S)]


@pytest.mark.slow
def test_a_reader_that_is_killed_takes_its_parser_with_it():
    child = "from config.child_process import die_with_parent as d; d(); print('ready', flush=True); input()"
    code = f"import sys; from client import pdf; pdf.subprocess.run([sys.executable, '-c', {child!r}])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=5)
    assert not is_alive(child.pid)
