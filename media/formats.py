"""Which formats are taken, by the names that Pillow and FFmpeg give them. docs/media.md has the table.

Whoever sends a file chooses its bytes, so decoders are told which formats to look for. FFmpeg would else follow
playlists to other files and addresses.
"""

from __future__ import annotations

from io import BytesIO

import av
from av.container import InputContainer

IMAGES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "JPEG2000")
CONTAINERS = {  # FFmpeg's names, and what follows the slash in the media type
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
ENDLESS = ("mp3", "aac", "amr")  # say nowhere how long they are; FFmpeg guesses
HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})  # brands of its header
AVIF = frozenset({b"avif", b"avis"})
FOREIGN_WORDS = "replace"  # titles and names are in any encoding, and none of ours


def open_container(content: bytes, **options: str) -> InputContainer:
    """By FFmpeg, from memory alone. Raises av.error.FFmpegError."""
    confined = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
    return av.open(BytesIO(content), "r", options=confined | options, metadata_errors=FOREIGN_WORDS)


def mime_subtype(container: InputContainer, content: bytes) -> str:
    """What follows the slash in its media type."""
    return "x-matroska" if b"matroska" in content[:64] else CONTAINERS[container.format.name]


def is_heic(content: bytes) -> bool:
    """Whether a header of the MP4 family names pictures in HEVC. FFmpeg would take them for films of one frame."""
    if content[4:8] != b"ftyp":
        return False
    header = content[8 : min(int.from_bytes(content[:4], "big"), 256)]
    brands = {header[at : at + 4] for at in range(0, len(header), 4)}
    return bool(brands & HEIC) and not brands & AVIF
