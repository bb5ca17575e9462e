"""What the words of a command mean, read with the command's own options, before it runs in a container."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import typer
from typer.core import TyperGroup


def parse_options(app: typer.Typer, prog: str, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command's name, and the values of its options by parameter. What is wrong with them ends the program."""
    group = cast(TyperGroup, typer.main.get_command(app))
    for name, command in group.commands.items():
        command.callback = partial(_meant, name)
    found = group.main(args=list(words), prog_name=prog, standalone_mode=False)
    if not isinstance(found, tuple):  # its help was shown
        raise typer.Exit(found or 0)
    return cast("tuple[str, dict[str, Any]]", found)


def _meant(name: str, /, **values: Any) -> tuple[str, dict[str, Any]]:
    return name, values
