"""Whether a file has all of its bytes, where FFmpeg does not tell. Sizes that writers leave open are ignored."""

from __future__ import annotations

from collections.abc import Iterator

RIFF_STREAMED = 0x7FFF_0000  # bytes: a WAV that was written to a pipe claims at least as many, or none
OGG_HEADER = 27  # bytes
OGG_FIRST_PAGE = 2  # a flag
MATROSKA_SEGMENT = b"\x18\x53\x80\x67"  # the element that holds all that follows the header


def is_truncated(kind: str, content: bytes) -> bool:
    """`kind` is FFmpeg's name of the container."""
    match kind:
        case "ogg":
            return not _is_whole_page(content[content.rfind(b"OggS") :])
        case "wav":
            return any(0 < size < RIFF_STREAMED and start + size > len(content) for start, size in _wav_data(content))
        case "matroska,webm":
            return (_matroska_end(content) or 0) > len(content)
    return False


def has_complete_segment(kind: str, content: bytes) -> bool:
    """Whether a Matroska has the size that it claims. Its duration may then exceed the end of its last frame."""
    return kind == "matroska,webm" and 0 < (_matroska_end(content) or 0) <= len(content)


def has_data_after(kind: str, content: bytes) -> bool:
    """Whether a second WAV follows the first; readers do not agree on what the file is then."""
    ends = (start + size for start, size in _wav_data(content)) if kind == "wav" else ()
    return any(content[end + end % 2 :].startswith(b"RIFF") for end in ends)


def _wav_data(content: bytes) -> Iterator[tuple[int, int]]:
    """Where a WAV's samples begin, and how many bytes it claims; nothing where it has none."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"data":
            yield at + 8, size
            return
        at += 8 + size + size % 2


def claims_no_samples(content: bytes) -> bool:
    """As a WAV that was written to a pipe does."""
    return any(not size for _, size in _wav_data(content))


def is_chained(content: bytes) -> bool:
    """Whether an Ogg is followed by a second one, which libsndfile does not read."""
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
    """Whether a last page has all of its segments, whose sizes follow its header, and no beginning of another page.

    The flag of a last page is not required: voice messages of phones lack it.
    """
    if len(page) < OGG_HEADER:
        return False
    segments = page[OGG_HEADER - 1]
    end = OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])
    return len(page) >= end and page[end:] not in (b"O", b"Og", b"Ogg")


def _matroska_end(content: bytes) -> int | None:
    """Where a Matroska claims to end; None where it does not say.

    A size has one byte more than its first byte has leading zero bits. Only ones stand for an unknown size.
    """
    at = content.find(MATROSKA_SEGMENT, 0, 256) + len(MATROSKA_SEGMENT)
    if at < len(MATROSKA_SEGMENT) or at >= len(content) or not content[at]:
        return None
    width = 9 - content[at].bit_length()
    unknown = (1 << 7 * width) - 1
    size = int.from_bytes(content[at : at + width], "big") & unknown
    return None if size == unknown else at + width + size
