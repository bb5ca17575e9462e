"""How every command of the arena ends: our errors as one line and exit 1, Ctrl+C as 130, no trace."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from config.errors import ArenaError, ConfigError
from config.printable import printable
from config.settings import Settings, load_settings


def run_app(app: typer.Typer) -> None:
    """Runs a Typer application to its exit code: 0 done, 1 failed, 2 wrong usage or settings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack characters that models and servers write
            stream.reconfigure(errors="backslashreplace")
    try:
        check_arguments(sys.argv[1:])
        app(prog_name=os.environ.get("ARENA_PROG"))
    except ArenaError as exc:
        print(f"arena: {printable(str(exc))}", file=sys.stderr)  # noqa: T201
        sys.exit(2 if isinstance(exc, ConfigError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def check_arguments(words: Sequence[str]) -> None:
    """Raises ConfigError for an argument that is not UTF-8, unless it names a file that exists."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as exc:
            if not Path(word.rpartition("=")[2] if word.startswith("--") else word).exists():
                raise ConfigError(f"the argument {word!r} is not UTF-8: type it again") from exc


def caller_settings(**fixed: str) -> Settings:
    """The settings of this process and of `.env`, overridden by `fixed`. Warns of unknown keys in the file."""
    settings, unknown = load_settings({**os.environ, **fixed})
    for key in unknown:
        print(f"arena: .env has an unknown key {key}; .env.example lists the known ones", file=sys.stderr)  # noqa: T201
    return settings
