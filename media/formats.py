"""The accepted formats, by their names in Pillow and FFmpeg. docs/media.md has the table.

Files are untrusted, so decoders are limited to these formats. FFmpeg would otherwise follow playlists to other files
and addresses.
"""

from __future__ import annotations

from io import BytesIO

import av
from av.container import InputContainer

IMAGES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000")
CONTAINERS = {  # FFmpeg's name to the subtype of the media type
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
WITHOUT_DURATION = ("mp3", "aac", "amr")  # FFmpeg only estimates their duration
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})


def open_container(content: bytes, **options: str) -> InputContainer:
    """Opens a file with FFmpeg, which may read nothing but `content`. Raises av.error.FFmpegError."""
    confined = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
    # metadata such as titles is not used and may be in any encoding
    return av.open(BytesIO(content), "r", options=confined | options, metadata_errors="replace")


def mime_subtype(container: InputContainer, content: bytes) -> str:
    """Returns the part of the media type after the slash."""
    return "x-matroska" if b"matroska" in content[:64] else CONTAINERS[container.format.name]


def is_heic(content: bytes) -> bool:
    """Returns whether a file is a HEIC image, which FFmpeg would treat as a video of one frame."""
    if content[4:8] != b"ftyp":
        return False
    header = content[8 : min(int.from_bytes(content[:4], "big"), 256)]
    brands = {header[at : at + 4] for at in range(0, len(header), 4)}
    return bool(brands & HEIC_BRANDS) and not brands & AVIF_BRANDS
