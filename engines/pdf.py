"""The text of a PDF, extracted by pypdf in a process of its own: a hostile file wastes that one's time and memory.

`python -m engines.pdf FILE` writes the text to stdout, or one line to stderr that says why there is none.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from engines.errors import DocumentError

LIMIT_BYTES = 20 * 2**20
LIMIT_PAGES = 500
LIMIT_CHARACTERS = 2 * 2**20
TIMEOUT_S = 60
MEMORY_BYTES = 2**30
REFUSED = 3  # exit code: stderr says why in one line


def read_pdf(path: Path) -> str:
    """Raises DocumentError for a file that is encrypted, scanned, damaged, too large or too slow to read."""
    if (size := path.stat().st_size) > LIMIT_BYTES:
        raise DocumentError(
            f"{path.name} has {size / 2**20:.0f} MiB, over the limit of 20 for a PDF: take a part of it"
        )
    command = [sys.executable, "-m", "engines.pdf", str(path)]
    root = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(command, capture_output=True, cwd=root, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as exc:
        raise DocumentError(f"{path.name} takes over {TIMEOUT_S} s to read: save it anew, or paste its text") from exc
    if done.returncode == REFUSED:
        raise DocumentError(f"{path.name} {done.stderr.decode().strip()}")
    if done.returncode:
        raise DocumentError(f"{path.name} is damaged, or no PDF at all: save it anew, or paste its text")
    return done.stdout.decode()


def _extract(path: Path) -> str:
    from pypdf import PdfReader

    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentError("is encrypted: save it without a password")
    if len(reader.pages) > LIMIT_PAGES:
        raise DocumentError(f"has {len(reader.pages):,} pages, over the limit of {LIMIT_PAGES}: take a part of it")
    text = "\n\n".join(page.extract_text() for page in reader.pages)
    if not text.strip():
        raise DocumentError("has no text, only pictures of it (a scan?): run text recognition (OCR) on it first")
    if len(text) > LIMIT_CHARACTERS:
        raise DocumentError(f"has {len(text):,} characters, over the limit of {LIMIT_CHARACTERS:,}: take a part of it")
    return text


def main() -> int:
    """The exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT_S, TIMEOUT_S))
    try:
        text = _extract(Path(sys.argv[1]))
    except DocumentError as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return REFUSED
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
