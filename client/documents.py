"""Context documents: read, bounded, counted with the engine's own tokenizer, cut to fit."""

from __future__ import annotations

import os
from pathlib import Path

from client import pdf
from client.text_decoding import decode_text, pdf_start
from config.errors import DocumentError

HANDBOOK = Path(__file__).parent / "sample_documents" / "ffmpeg.md"
BUILT_IN = tuple(sorted(HANDBOOK.parent.glob("*.md")))
LIMIT_BYTES = 2 * 2**20
STDIN = Path("-")


def read_document(path: Path) -> str:
    """The text of a PDF or of a text file, by what its bytes are; `-` is the standard input.

    A file is opened and read once, for a pipe has its bytes only once, and never beyond the limit. Raises
    DocumentError that says why there is no text.
    """
    try:
        name = path.name if path.is_file() else str(path)
        with os.fdopen(os.dup(0), "rb") if path == STDIN else path.open("rb") as file:
            raw = file.read(LIMIT_BYTES + 1)
            start = pdf_start(raw)
            if start is not None:
                raw += file.read(max(0, pdf.LIMIT_BYTES + 1 - len(raw)))
    except (OSError, ValueError) as exc:  # ValueError: no file has such a name
        raise DocumentError(f"{path} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
    if start is not None:
        return pdf.read_pdf(raw, start, name)
    if len(raw) > LIMIT_BYTES:
        raise DocumentError(f"{name} is over the limit of {LIMIT_BYTES // 2**20} MiB for text: take a part of it")
    return decode_text(raw, name)
