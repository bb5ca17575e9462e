"""Media for a prompt from a path, an http(s) or `data:` address, or base64.

Nothing of it is timed as a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from engines.errors import MediaError
from engines.media.checks import examine
from engines.media.download import download
from engines.media.inline import bare, from_address, shown
from engines.media.limits import Limits
from engines.media.part import Media, Modality
from engines.media.sound import readable
from engines.media.timed import timed

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
GIVE = {Modality.IMAGE: "an image", Modality.VIDEO: "a video", Modality.AUDIO: "a sound"}


@dataclass(frozen=True, slots=True)
class File:
    """As it was found; nobody has looked into it yet. `url` is where it was downloaded from."""

    name: str
    content: bytes = field(repr=False)
    url: str = ""


def load(source: str | Path, limits: Limits, wanted: Modality | None = None) -> Media:
    """Read, checked and encoded. Raises MediaError."""
    return encode(read(source, limits), limits, wanted)


def read(source: str | Path, limits: Limits) -> File:
    """The bytes, no more of them than allowed. Raises MediaError when they cannot be had."""
    if isinstance(source, Path):
        return _file(source, limits)
    words = source.strip()
    if words[:5].lower() == "data:":
        return File("the data: address", from_address(words, limits))
    if SCHEME.match(words):
        content = download(words, limits)
        return File(shown(urlsplit(words).path.rpartition("/")[2] or words), content, words)
    inline = bare(words, limits)
    return File("the base64 text", inline) if inline else _file(Path(source), limits)


def encode(file: File, limits: Limits, wanted: Modality | None = None) -> Media:
    """Sent as what it is, whatever its name says. Raises MediaError: not whole, too large, or not `wanted`."""
    name = shown(file.name)
    found = examine(file.content, name, limits, wanted)
    if wanted and found.modality is not wanted:
        raise MediaError(f"{name} is {GIVE[found.modality]} ({found.mime}): give {GIVE[wanted]}")
    content, mime = file.content, found.mime
    if found.modality is Modality.VIDEO:
        content = timed(content, name)
    elif found.modality is Modality.AUDIO:
        content, again = readable(content, name, found.seconds)
        mime = "audio/flac" if again else mime
        limits.of_sound(name, len(content))
    return Media.of(found.modality, name, mime, content, url=file.url, extent=found.extent)


def _file(path: Path, limits: Limits) -> File:
    try:
        limits.of_bytes(shown(path.name), path.stat().st_size)
        return File(shown(path.name), path.read_bytes())
    except (OSError, ValueError) as exc:  # the second for a name with a null character
        raise MediaError(f"{shown(path)} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
