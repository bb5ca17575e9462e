"""How every command of the arena ends: our errors as one line and exit 1, Ctrl+C as 130, no trace."""

from __future__ import annotations

import os
import sys

import typer

from engines.errors import ArenaError, ConfigError
from engines.printable import printable
from engines.settings import Settings, read_env


def run(app: typer.Typer) -> None:
    """Runs a Typer application to its exit code: 0 done, 1 failed, 2 wrong usage or settings."""
    try:
        app(prog_name=os.environ.get("ARENA_PROG"))
    except ConfigError as exc:
        print(f"arena: {printable(str(exc))}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except ArenaError as exc:
        print(f"arena: {printable(str(exc))}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def settings_of_the_caller(**fixed: str) -> Settings:
    """The settings of this process and `.env`, under what is `fixed`; unknown keys of the file are warned of."""
    settings, unknown = read_env({**os.environ, **fixed})
    for key in unknown:
        print(f"arena: .env has an unknown key {key}; .env.example lists those that count", file=sys.stderr)  # noqa: T201
    return settings
