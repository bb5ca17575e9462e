"""What a caller names and a container beside the engines cannot see is refused before one is started."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.errors import ConfigError

OPTIONS = ("image", "video", "audio", "context", "result_dir", "json_file")  # read or written


def check_paths(values: Mapping[str, Any], here: Path, inside: Collection[str] = ()) -> None:
    """Raises ConfigError for a file outside the folder `here`, and for an address of a host that is not `inside`.

    `values` are a command's options by parameter.
    """
    for named in _named(values):
        try:
            parts = urlsplit(named)
            host = (parts.hostname or "").lower()
        except ValueError as exc:
            raise ConfigError(f"{named[:200]} is neither a file nor an address ({exc})") from exc
        if parts.scheme in ("http", "https"):
            if host not in inside:
                raise ConfigError(f"{named[:200]} is out of a container's reach: download it, and give the file")
        elif parts.scheme != "data" and not _is_below(here, named):
            raise ConfigError(
                f"{named[:200]} is outside {here}, all that a container sees: go to its folder, or copy it here"
            )


def _is_below(here: Path, named: str) -> bool:
    try:
        return (here / named).resolve().is_relative_to(here.resolve())
    except (OSError, RuntimeError, ValueError):  # too long a name, a ring of links, a zero byte
        return False


def _named(values: Mapping[str, Any]) -> Iterator[str]:
    for option in OPTIONS:
        given = values.get(option) or ()
        names = map(str, given if isinstance(given, list | tuple) else (given,))
        yield from (name for name in names if name != "-")
