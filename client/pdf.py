"""Extracts the text of a PDF with pypdf, in a separate process, so that a malicious file cannot harm the caller.

`python -m client.pdf` reads the file from stdin and writes the text to stdout. If there is no text, it writes one line
with the reason to stderr.
"""

from __future__ import annotations

import io
import logging
import resource
import subprocess
import sys
from pathlib import Path

from config.child_process import die_with_parent
from config.errors import DocumentError

LIMIT_BYTES = 20 * 2**20
LIMIT_PAGES = 500
LIMIT_CHARACTERS = 2 * 2**20
TIMEOUT_S = 60
MEMORY_BYTES = 2**30
REFUSED = 3  # exit code; stderr has one line with the reason


def read_pdf(raw: bytes, start: int, name: str) -> str:
    """Returns the text of the PDF that starts at byte `start` of `raw`.

    Raises DocumentError if it is encrypted, scanned, damaged, too large or too slow to read.
    """
    if len(raw) > LIMIT_BYTES:
        raise DocumentError(f"{name} is over the limit of {LIMIT_BYTES // 2**20} MiB for a PDF: give a part of it")
    command = [sys.executable, "-m", "client.pdf", str(start)]
    root = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(command, input=raw, capture_output=True, cwd=root, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise DocumentError(f"{name} takes over {TIMEOUT_S} s to read: save it again, or paste its text") from exc
    if done.returncode == REFUSED:
        raise DocumentError(f"{name} {done.stderr.decode().strip()}")
    if done.returncode < 0:  # killed by the kernel at a limit
        raise DocumentError(f"{name} takes too much time or memory to read: save it again, or paste its text")
    if done.returncode:
        raise DocumentError(f"{name} is damaged, or no PDF at all: save it again, or paste its text")
    return done.stdout.decode()


def _extract(raw: bytes, start: int) -> str:
    """Tries both conventions for offsets in a PDF: from its header, then from the start of the file."""
    try:
        return _text(raw[start:])
    except DocumentError:
        raise
    except Exception:
        if not start:
            raise
        return _text(raw)


def _text(raw: bytes) -> str:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(io.BytesIO(raw))
    try:
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("is encrypted: save it without a password")
    except (DependencyError, NotImplementedError) as exc:  # pypdf lacks the algorithm
        raise DocumentError("is encrypted in a way that cannot be read: save it without encryption") from exc
    if len(reader.pages) > LIMIT_PAGES:
        raise DocumentError(f"has {len(reader.pages):,} pages, over the limit of {LIMIT_PAGES}: give a part of it")
    text = "\n\n".join(page.extract_text() for page in reader.pages).replace("\0", "\N{REPLACEMENT CHARACTER}")
    if not text.strip():
        raise DocumentError("has no text, only pictures of it (a scan?): run text recognition (OCR) on it first")
    if len(text) > LIMIT_CHARACTERS:
        raise DocumentError(f"has {len(text):,} characters, over the limit of {LIMIT_CHARACTERS:,}: give a part of it")
    return text


def main() -> int:
    """Extracts the text from stdin in a limited process, and returns the exit code."""
    die_with_parent()
    logging.disable()  # pypdf logs a warning for every irregularity
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT_S, TIMEOUT_S))
    try:
        text = _extract(sys.stdin.buffer.read(LIMIT_BYTES), int(sys.argv[1]))
    except (DocumentError, MemoryError) as exc:
        print(str(exc) or "takes too much memory to read: give a part of it", file=sys.stderr)  # noqa: T201
        return REFUSED
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
