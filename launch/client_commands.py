"""Runs `ask`, `chat`, `bench` and `cache` on the host or, if the stack runs as containers, in a container of its own.

Their options are parsed on the host in both cases, except those of `cache`, which runs in the keeper's container.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

import typer
from typer.core import TyperGroup

from config.errors import ConfigError
from config.exit_codes import caller_settings
from config.run_state import containers_file
from launch.compose import container_device
from launch.containers import Containers

PATH_OPTIONS = ("image", "video", "audio", "context", "result_dir", "json_file")  # options that name files


def run_client_command(home: Path, command: str, arguments: Sequence[str]) -> NoReturn:
    """Replaces this process (exec) with the command.

    The command runs in a container if the stack's containers run and the command uses the stack's engines or volume,
    otherwise on the host. Help and usage errors are the command's own. Raises ConfigError for anything that a container
    cannot do or see.
    """
    own_module = command in ("bench", "cache")
    module, prog, words = (
        (command, f"./arena {command}", arguments) if own_module else ("engines", "./arena", [command, *arguments])
    )
    if command == "cache":
        if containers := Containers.running(home):
            containers.run_in_keeper(module, prog, words)
    elif containers_file(home).exists():
        name, values = parse_options(_application(module), prog, words)
        own_engines = name not in ("report", "compare") and not values.get("base_url")
        if own_engines and (containers := Containers.running(home)):
            if name == "peer":
                raise ConfigError("bench peer starts `vllm bench serve` beside it: it needs the stack of ./arena up")
            settings = caller_settings(DEVICE=container_device(cpu=containers.composition.cpu))
            check_paths(values, Path.cwd(), settings.media_domains if command == "chat" else ())
            containers.run_client(module, prog, words)
    os.execve(sys.executable, [sys.executable, "-m", module, *words], {**os.environ, "ARENA_PROG": prog})  # noqa: S606


def _application(module: str) -> typer.Typer:
    """Returns the module's app, imported only when needed, because the import takes a second."""
    if module == "bench":
        from bench.__main__ import app
    else:
        from engines.__main__ import app
    return app


def parse_options(app: typer.Typer, prog: str, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Returns the command's name, and its options' values by parameter. A usage error ends the program."""
    group = cast(TyperGroup, typer.main.get_command(app))
    for name, command in group.commands.items():
        command.callback = partial(_values, name)
    found = group.main(args=list(words), prog_name=prog, standalone_mode=False)
    if not isinstance(found, tuple):  # the help was shown
        raise typer.Exit(found or 0)
    return cast("tuple[str, dict[str, Any]]", found)


def _values(name: str, /, **values: Any) -> tuple[str, dict[str, Any]]:
    return name, values


def check_paths(values: Mapping[str, Any], here: Path, inside: Collection[str] = ()) -> None:
    """Raises ConfigError for a file outside the folder `here`, or an address whose host is not in `inside`.

    `values` are a command's options by parameter. A container sees only the folder `here` and the engines' network.
    """
    for named in _named_files(values):
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
    except (OSError, RuntimeError, ValueError):  # the name is too long, links form a loop, or there is a null byte
        return False


def _named_files(values: Mapping[str, Any]) -> Iterator[str]:
    for option in PATH_OPTIONS:
        given = values.get(option) or ()
        names = map(str, given if isinstance(given, list | tuple) else (given,))
        yield from (name for name in names if name != "-")
