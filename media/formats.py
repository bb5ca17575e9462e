"""Which formats are taken, by the names that Pillow and FFmpeg give them. docs/media.md has the table.

Whoever sends a file chooses its bytes, so decoders are limited to these formats. FFmpeg would otherwise follow
playlists to other files and addresses.
"""

from __future__ import annotations

from io import BytesIO

import av
from av.container import InputContainer

IMAGES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000")
CONTAINERS = {  # FFmpeg's names, and the subtypes of their media types
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "webm",
    "avi": "x-msvideo",
    "gif": "gif",
    "ogg": "ogg",
    "wav": "wav",
    "flac": "flac",
    "mp3": "mpeg",
    "aac": "aac",
    "aiff": "aiff",
    "caf": "x-caf",
    "amr": "amr",
    "au": "basic",
}
WITHOUT_DURATION = ("mp3", "aac", "amr")  # FFmpeg guesses it
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})


def open_container(content: bytes, **options: str) -> InputContainer:
    """By FFmpeg, from memory alone. Raises av.error.FFmpegError."""
    confined = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
    # titles and names, which we do not use, are in any encoding
    return av.open(BytesIO(content), "r", options=confined | options, metadata_errors="replace")


def mime_subtype(container: InputContainer, content: bytes) -> str:
    """What follows the slash in its media type."""
    return "x-matroska" if b"matroska" in content[:64] else CONTAINERS[container.format.name]


def is_heic(content: bytes) -> bool:
    """Whether a header of the MP4 family names pictures in HEVC, which FFmpeg would take for films of one frame."""
    if content[4:8] != b"ftyp":
        return False
    header = content[8 : min(int.from_bytes(content[:4], "big"), 256)]
    brands = {header[at : at + 4] for at in range(0, len(header), 4)}
    return bool(brands & HEIC_BRANDS) and not brands & AVIF_BRANDS
