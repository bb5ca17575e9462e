"""What a caller names and a container beside the engines cannot see: told before one is started."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from engines.errors import ConfigError

OPTIONS = ("--image", "--video", "--audio", "--context")


def check(words: Sequence[str], here: Path, inside: Collection[str] = ()) -> None:
    """Raises ConfigError for a file outside the folder `here`, and for an address of a host that is not `inside`."""
    for named in _named(words):
        parts = urlsplit(named)
        if parts.scheme in ("http", "https"):
            if (parts.hostname or "").lower() not in inside:
                raise ConfigError(f"{named} is out of a container's reach: download it, and give the file")
        elif not named.startswith("data:") and not (here / named).resolve().is_relative_to(here.resolve()):
            raise ConfigError(
                f"{named} is outside {here}, all that a container sees: go to its folder, or copy it here"
            )


def _named(words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        option, joined, value = word.partition("=")
        if option in OPTIONS:
            yield value if joined else "".join(words[place + 1 : place + 2])
