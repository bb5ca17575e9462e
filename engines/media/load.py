"""Media for a prompt from a path, an http(s) address or a `data:` address. Nothing of it is timed as a request."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from engines.errors import MediaError
from engines.media.checks import examine
from engines.media.download import download
from engines.media.limits import Limits
from engines.media.part import Media, Modality
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
    words = str(source)
    if words[:5].lower() == "data:":
        return File("the data: address", _decoded(words, limits))
    if isinstance(source, Path) or not SCHEME.match(words):
        return _file(Path(source), limits)
    content = download(words, limits)
    return File(urlsplit(words).path.rpartition("/")[2] or words, content, words)


def encode(file: File, limits: Limits, wanted: Modality | None = None) -> Media:
    """Sent as what it is, whatever its name says. Raises MediaError: not whole, too large, or not `wanted`."""
    found = examine(file.content, file.name, limits, wanted)
    if wanted and found.modality is not wanted:
        raise MediaError(f"{file.name} is {GIVE[found.modality]} ({found.mime}): give {GIVE[wanted]}")
    content = timed(file.content, file.name) if found.modality is Modality.VIDEO else file.content
    return Media.of(found.modality, file.name, found.mime, content, url=file.url, extent=found.extent)


def _file(path: Path, limits: Limits) -> File:
    try:
        limits.of_bytes(path.name, path.stat().st_size)
        return File(path.name, path.read_bytes())
    except OSError as exc:
        raise MediaError(f"{path} cannot be read: {exc.strerror}") from exc


def _decoded(url: str, limits: Limits) -> bytes:
    head, comma, body = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise MediaError("the data: address is not base64: give data:TYPE;base64,…")
    limits.of_bytes("the data: address", len(body) * 3 // 4)
    try:
        return b64decode(body, validate=True)
    except ValueError as exc:
        raise MediaError(f"the data: address is not base64 ({exc}): encode it again") from exc
