"""Whether a file has all of its bytes, where FFmpeg does not tell. Sizes that writers leave open prove nothing."""

from __future__ import annotations

from collections.abc import Iterator

RIFF_STREAMED = 0x7FFF_0000  # who writes a WAV to a pipe claims such a size, or more, or none
OGG_HEADER = 27  # bytes
OGG_FIRST = 2  # the flag of a stream's first page
SEGMENT = b"\x18\x53\x80\x67"  # all that follows a Matroska's header


def is_truncated(kind: str, content: bytes) -> bool:
    """`kind` is FFmpeg's name of the container."""
    match kind:
        case "ogg":
            return not _has_a_last_page(content[content.rfind(b"OggS") :])
        case "wav":
            return any(0 < size < RIFF_STREAMED and start + size > len(content) for start, size in _data(content))
        case "matroska,webm":
            return (_behind_its_segment(content) or 0) > len(content)
    return False


def has_complete_segment(kind: str, content: bytes) -> bool:
    """Whether a Matroska says where it ends, and does. Its length in seconds may then be longer than its last frame."""
    return kind == "matroska,webm" and 0 < (_behind_its_segment(content) or 0) <= len(content)


def has_data_after(kind: str, content: bytes) -> bool:
    """Whether another file stands behind this WAV's end; readers do not agree on what it is then."""
    ends = (start + size for start, size in _data(content)) if kind == "wav" else ()
    return any(content[end + end % 2 :].startswith(b"RIFF") for end in ends)


def _data(content: bytes) -> Iterator[tuple[int, int]]:
    """Where a WAV's samples begin, and how many bytes of them it claims."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"data":
            yield at + 8, size
            return
        at += 8 + size + size % 2


def claims_no_samples(content: bytes) -> bool:
    """As a WAV does that was written to a pipe."""
    return any(not size for _, size in _data(content))


def is_chained(content: bytes) -> bool:
    """Whether an Ogg has another behind it: libsndfile reads the first alone."""
    at, begun = 0, False
    while len(content) > at + OGG_HEADER and content.startswith(b"OggS", at):
        first = bool(content[at + 5] & OGG_FIRST)
        if first and begun:
            return True
        begun = not first
        table = at + OGG_HEADER
        body = table + content[table - 1]
        at = body + sum(content[table:body])
    return False


def _has_a_last_page(page: bytes) -> bool:
    """Whether it has all of its segments, and no start of another follows; a table after the header has their sizes.

    Not all writers flag the last page as such: phones' voice messages end without it.
    """
    if len(page) < OGG_HEADER:
        return False
    segments = page[OGG_HEADER - 1]
    end = OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])
    return len(page) >= end and page[end:] not in (b"O", b"Og", b"Ogg")


def _behind_its_segment(content: bytes) -> int | None:
    """Where a Matroska ends by its own words; None where it leaves that open.

    A size has as many bytes as its first has leading zero bits, and one more; all ones are a size left open.
    """
    at = content.find(SEGMENT, 0, 256) + len(SEGMENT)
    if at < len(SEGMENT) or at >= len(content) or not content[at]:
        return None
    width = 9 - content[at].bit_length()
    left_open = (1 << 7 * width) - 1
    size = int.from_bytes(content[at : at + width], "big") & left_open
    return None if size == left_open else at + width + size
