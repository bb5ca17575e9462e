"""Detects truncated files in formats where FFmpeg does not report it. Sizes that the writer left open are ignored."""

from __future__ import annotations

from collections.abc import Iterator

RIFF_STREAMED = 0x7FFF_0000  # bytes; a WAV written to a pipe has a size of at least this, or 0
OGG_HEADER = 27  # bytes
OGG_FIRST_PAGE = 2  # flag in the page header
MATROSKA_SEGMENT = b"\x18\x53\x80\x67"  # ID of the element that contains everything after the header


def is_truncated(kind: str, content: bytes) -> bool:
    """Returns whether the end of a file is missing. `kind` is FFmpeg's name of the container."""
    match kind:
        case "ogg":
            return not _is_whole_page(content[content.rfind(b"OggS") :])
        case "wav":
            return any(0 < size < RIFF_STREAMED and start + size > len(content) for start, size in _wav_data(content))
        case "matroska,webm":
            return (_matroska_end(content) or 0) > len(content)
    return False


def has_complete_segment(kind: str, content: bytes) -> bool:
    """Returns whether a Matroska file has the length that its header claims, or more.

    The duration of such a file may exceed the end of its last frame.
    """
    return kind == "matroska,webm" and 0 < (_matroska_end(content) or 0) <= len(content)


def has_data_after(kind: str, content: bytes) -> bool:
    """Returns whether a second WAV follows the first; readers disagree on how to read such a file."""
    ends = (start + size for start, size in _wav_data(content)) if kind == "wav" else ()
    return any(content[end + end % 2 :].startswith(b"RIFF") for end in ends)


def _wav_data(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields the offset of a WAV's samples and their size in the header (bytes); nothing if there is no data chunk."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"data":
            yield at + 8, size
            return
        at += 8 + size + size % 2


def claims_no_samples(content: bytes) -> bool:
    """Returns whether a WAV has a data size of 0 in its header, as one written to a pipe may."""
    return any(not size for _, size in _wav_data(content))


def is_chained(content: bytes) -> bool:
    """Returns whether a second Ogg stream follows the first; libsndfile does not read it."""
    at, begun = 0, False
    while len(content) > at + OGG_HEADER and content.startswith(b"OggS", at):
        first = bool(content[at + 5] & OGG_FIRST_PAGE)
        if first and begun:
            return True
        begun = not first
        table = at + OGG_HEADER
        body = table + content[table - 1]
        at = body + sum(content[table:body])
    return False


def _is_whole_page(page: bytes) -> bool:
    """Returns whether the last Ogg page is complete, and no start of another page follows.

    The sizes of its segments follow the page header. The flag for a last page is not required: voice messages recorded
    by phones lack it.
    """
    if len(page) < OGG_HEADER:
        return False
    segments = page[OGG_HEADER - 1]
    end = OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])
    return len(page) >= end and page[end:] not in (b"O", b"Og", b"Ogg")


def _matroska_end(content: bytes) -> int | None:
    """Returns the offset where a Matroska file ends according to its header, or None if the size is unknown.

    The length of the size field is the number of leading zero bits in its first byte, plus one byte. A field whose
    value bits are all ones means that the size is unknown.
    """
    at = content.find(MATROSKA_SEGMENT, 0, 256) + len(MATROSKA_SEGMENT)
    if at < len(MATROSKA_SEGMENT) or at >= len(content) or not content[at]:
        return None
    width = 9 - content[at].bit_length()
    unknown = (1 << 7 * width) - 1
    size = int.from_bytes(content[at : at + width], "big") & unknown
    return None if size == unknown else at + width + size
