"""Loads media from a path, an http(s) or `data:` address, or base64. This is never part of a measured time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from config.errors import MediaError
from media.checks import check_file
from media.convert import as_readable_audio, with_duration
from media.data_urls import from_base64, from_data_url, short_name
from media.download import download
from media.limits import Limits
from media.part import Media, Modality

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
WITH_ARTICLE = {Modality.IMAGE: "an image", Modality.VIDEO: "a video", Modality.AUDIO: "a sound"}


@dataclass(frozen=True, slots=True)
class MediaFile:
    """An unchecked file. `url` is the address it was downloaded from, or empty."""

    name: str
    content: bytes = field(repr=False)
    url: str = ""


def load_media(source: str | Path, limits: Limits, wanted: Modality | None = None) -> Media:
    """Reads, checks and encodes a file. Raises MediaError."""
    return encode_media(read_media_file(source, limits), limits, wanted)


def read_media_file(source: str | Path, limits: Limits) -> MediaFile:
    """Reads or downloads a file. Raises MediaError, also for a file over the size limit."""
    if isinstance(source, Path):
        return _read_path(source, limits)
    words = source.strip()
    if words[:5].lower() == "data:":
        return MediaFile("the data: address", from_data_url(words, limits))
    if SCHEME.match(words):
        content = download(words, limits)
        return MediaFile(short_name(urlsplit(words).path.rpartition("/")[2] or words), content, words)
    inline = from_base64(words, limits)
    return MediaFile("the base64 text", inline) if inline else _read_path(Path(source), limits)


def encode_media(file: MediaFile, limits: Limits, wanted: Modality | None = None) -> Media:
    """Checks and encodes a file; its content decides the type, not its name.

    Raises MediaError if the file is damaged, too large, or not of the `wanted` modality.
    """
    name = short_name(file.name)
    found = check_file(file.content, name, limits, wanted)
    if wanted and found.modality is not wanted:
        raise MediaError(f"{name} is {WITH_ARTICLE[found.modality]} ({found.mime}): give {WITH_ARTICLE[wanted]}")
    content, mime = file.content, found.mime
    if found.modality is Modality.VIDEO:
        content = with_duration(content, name)
    elif found.modality is Modality.AUDIO:
        content, is_converted = as_readable_audio(content, name, found.seconds)
        mime = "audio/flac" if is_converted else mime
        limits.check_sound_bytes(name, len(content))
    return Media.of(found.modality, name, mime, content, url=file.url, extent=found.extent)


def _read_path(path: Path, limits: Limits) -> MediaFile:
    try:
        limits.check_bytes(short_name(path.name), path.stat().st_size)
        return MediaFile(short_name(path.name), path.read_bytes())
    except (OSError, ValueError) as exc:  # ValueError: the name has a null character
        raise MediaError(f"{short_name(path)} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
