"""Text from bytes: what is no text is refused with the reason, and never reaches a model as if it were."""

from __future__ import annotations

import codecs
import re

from config.errors import DocumentError

BYTE_ORDER_MARKS = {  # the longer ones first: UTF-16's is the beginning of UTF-32's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
FORMATS = {
    b"PK\x03\x04": "is a ZIP archive, as docx, odt, xlsx and epub files are: save it as PDF or as plain text",
    b"\xd0\xcf\x11\xe0": "is a file of an older Office (doc, xls, ppt): save it as PDF or as plain text",
    b"{\\rtf": "is RTF: save it as PDF or as plain text",
    b"%!PS": "is PostScript: convert it to PDF, as ps2pdf does",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"\x89PNG\r\n": "is an image, and not text: run text recognition (OCR) on it first",
    b"\xff\xd8\xff": "is an image, and not text: run text recognition (OCR) on it first",
    b"GIF8": "is an image, and not text: run text recognition (OCR) on it first",
}
BINARY = "has NUL bytes, so it is not text (or UTF-16 without its mark): give a UTF-8 file or a PDF"
HEADER_WITHIN = 1024  # bytes; readers of PDF look so far for its header
PDF_HEADER = re.compile(rb"%PDF-\d")
PDF_OBJECT = re.compile(rb"\d\s+\d+\s+obj\b|startxref")


def pdf_start(raw: bytes) -> int | None:
    """Where in the bytes a PDF begins; None when they are none.

    A text that only mentions the header is none: what begins later than at once has a PDF's objects too.
    """
    header = PDF_HEADER.search(raw, 0, HEADER_WITHIN + len(b"%PDF-1"))
    if header and (header.start() == 0 or PDF_OBJECT.search(raw, header.end())):
        return header.start()
    return None


def decode_text(raw: bytes, name: str) -> str:
    """UTF-8, or what a byte order mark says. Raises DocumentError for what is no text, or nothing but space."""
    if why := next((why for magic, why in FORMATS.items() if raw.startswith(magic)), ""):
        raise DocumentError(f"{name} {why}")
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as exc:
        raise DocumentError(f"{name} {_undecodable(raw, encoding, exc.start)}") from exc
    if "\0" in text:
        raise DocumentError(f"{name} {BINARY}")
    if not text.strip():
        raise DocumentError(f"{name} is empty: give a file with text")
    return text


def _undecodable(raw: bytes, encoding: str, byte: int) -> str:
    if b"\0" in raw:
        return BINARY
    said = f"is not {encoding.removesuffix('-sig').upper()} at byte {byte:,}"
    return f"{said}: it is not text, or in another encoding, which iconv -f latin1 -t utf-8 would convert, say"
