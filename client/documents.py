"""Reads context documents: text and PDF files up to a size limit. Anything that is not text is an error."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from client import pdf
from config.errors import DocumentError

HANDBOOK = Path(__file__).parent / "sample_documents" / "ffmpeg.md"
BUILT_IN = tuple(sorted(HANDBOOK.parent.glob("*.md")))
LIMIT_BYTES = 2 * 2**20
STDIN = Path("-")

BYTE_ORDER_MARKS = {  # longer ones first: the mark of UTF-16 is a prefix of UTF-32's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
IMAGE = "is an image, and not text: run text recognition (OCR) on it first"
FORMATS = {
    b"PK\x03\x04": "is a ZIP archive, as docx, odt, xlsx and epub files are: save it as PDF or as plain text",
    b"\xd0\xcf\x11\xe0": "is a file of an older Office (doc, xls, ppt): save it as PDF or as plain text",
    b"{\\rtf": "is RTF: save it as PDF or as plain text",
    b"%!PS": "is PostScript: convert it to PDF, as ps2pdf does",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"\x89PNG\r\n": IMAGE,
    b"\xff\xd8\xff": IMAGE,
    b"GIF8": IMAGE,
}
BINARY = "has NUL bytes, so it is not text (or UTF-16 without its mark): give a UTF-8 file or a PDF"
HEADER_WITHIN = 1024  # bytes; PDF readers look for the header in this range
PDF_HEADER = re.compile(rb"%PDF-\d")
PDF_OBJECT = re.compile(rb"\d\s+\d+\s+obj\b|startxref")


def read_document(path: Path) -> str:
    """Returns the text of a PDF or text file; the content decides which it is. `-` is the standard input.

    The file is read once, because a pipe cannot be read again, and at most one byte beyond the limit. Raises
    DocumentError if there is no text.
    """
    try:
        name = path.name if path.is_file() else str(path)
        with os.fdopen(os.dup(0), "rb") if path == STDIN else path.open("rb") as file:
            raw = file.read(LIMIT_BYTES + 1)
            start = pdf_start(raw)
            if start is not None:
                raw += file.read(max(0, pdf.LIMIT_BYTES + 1 - len(raw)))
    except (OSError, ValueError) as exc:  # ValueError: the path is not a valid file name
        raise DocumentError(f"{path} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
    if start is not None:
        return pdf.read_pdf(raw, start, name)
    if len(raw) > LIMIT_BYTES:
        raise DocumentError(f"{name} is over the limit of {LIMIT_BYTES // 2**20} MiB for text: give a part of it")
    return decode_text(raw, name)


def pdf_start(raw: bytes) -> int | None:
    """Returns the offset of the PDF header, or None if the file is not a PDF.

    A text may contain the header too, so unless it is at the very start, PDF objects must follow it.
    """
    header = PDF_HEADER.search(raw, 0, HEADER_WITHIN + len(b"%PDF-1"))
    if header and (header.start() == 0 or PDF_OBJECT.search(raw, header.end())):
        return header.start()
    return None


def decode_text(raw: bytes, name: str) -> str:
    """Decodes UTF-8, or the encoding of a byte order mark. Raises DocumentError for binary data and blank text."""
    if why := next((why for magic, why in FORMATS.items() if raw.startswith(magic)), ""):
        raise DocumentError(f"{name} {why}")
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as exc:
        where = f"is not {encoding.removesuffix('-sig').upper()} at byte {exc.start:,}"
        convert = "it is not text, or is in another encoding, which for example iconv -f latin1 -t utf-8 converts"
        raise DocumentError(f"{name} {BINARY}" if b"\0" in raw else f"{name} {where}: {convert}") from exc
    if "\0" in text:
        raise DocumentError(f"{name} {BINARY}")
    if not text.strip():
        raise DocumentError(f"{name} is empty: give a file with text")
    return text
