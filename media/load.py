"""Media for a prompt from a path, an http(s) or `data:` address, or base64.

Nothing of it is timed as a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from config.errors import MediaError
from media.audio_convert import as_readable_audio
from media.checks import check_file
from media.data_urls import from_base64, from_data_url, short_name
from media.download import download
from media.limits import Limits
from media.part import Media, Modality
from media.remux import with_duration

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
GIVE = {Modality.IMAGE: "an image", Modality.VIDEO: "a video", Modality.AUDIO: "a sound"}


@dataclass(frozen=True, slots=True)
class MediaFile:
    """As it was found; nobody has looked into it yet. `url` is where it was downloaded from."""

    name: str
    content: bytes = field(repr=False)
    url: str = ""


def load_media(source: str | Path, limits: Limits, wanted: Modality | None = None) -> Media:
    """Read, checked and encoded. Raises MediaError."""
    return encode_media(read_media_file(source, limits), limits, wanted)


def read_media_file(source: str | Path, limits: Limits) -> MediaFile:
    """The bytes, no more of them than allowed. Raises MediaError when they cannot be had."""
    if isinstance(source, Path):
        return _file(source, limits)
    words = source.strip()
    if words[:5].lower() == "data:":
        return MediaFile("the data: address", from_data_url(words, limits))
    if SCHEME.match(words):
        content = download(words, limits)
        return MediaFile(short_name(urlsplit(words).path.rpartition("/")[2] or words), content, words)
    inline = from_base64(words, limits)
    return MediaFile("the base64 text", inline) if inline else _file(Path(source), limits)


def encode_media(file: MediaFile, limits: Limits, wanted: Modality | None = None) -> Media:
    """Sent as what it is, whatever its name says. Raises MediaError: not whole, too large, or not `wanted`."""
    name = short_name(file.name)
    found = check_file(file.content, name, limits, wanted)
    if wanted and found.modality is not wanted:
        raise MediaError(f"{name} is {GIVE[found.modality]} ({found.mime}): give {GIVE[wanted]}")
    content, mime = file.content, found.mime
    if found.modality is Modality.VIDEO:
        content = with_duration(content, name)
    elif found.modality is Modality.AUDIO:
        content, again = as_readable_audio(content, name, found.seconds)
        mime = "audio/flac" if again else mime
        limits.of_sound(name, len(content))
    return Media.of(found.modality, name, mime, content, url=file.url, extent=found.extent)


def _file(path: Path, limits: Limits) -> MediaFile:
    try:
        limits.of_bytes(short_name(path.name), path.stat().st_size)
        return MediaFile(short_name(path.name), path.read_bytes())
    except (OSError, ValueError) as exc:  # the second for a name with a null character
        raise MediaError(f"{short_name(path)} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
