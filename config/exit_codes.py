"""Exit codes of all arena commands.

An ArenaError is printed as one line without a traceback; the code is 1, or 2 for a ConfigError. Ctrl+C exits with 130.
"""

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
    """Runs a Typer application. Exit codes: 0 success, 1 failure, 2 wrong usage or settings, 130 Ctrl+C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack some characters
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
    """Returns the settings from the environment and `.env`, overridden by `fixed`. Warns of unknown keys in it."""
    settings, unknown = load_settings({**os.environ, **fixed})
    for key in unknown:
        print(f"arena: .env has an unknown key {key}; .env.example lists the known ones", file=sys.stderr)  # noqa: T201
    return settings
