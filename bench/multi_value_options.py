"""Options that `vllm bench serve` gives several values at once, for Typer, which wants each by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

MULTI_VALUE = ("--goodput", "--metadata")


class MultiValueGroup(TyperGroup):
    """The commands of a program, each of which takes `--goodput ttft:500 tpot:50`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Before Typer sees them."""
        return super().parse_args(ctx, each_by_its_name(args))


def each_by_its_name(words: Sequence[str]) -> list[str]:
    """`--goodput ttft:500 tpot:50` as `--goodput ttft:500 --goodput tpot:50`.

    All words up to the next option are its values; no command with such an option has arguments.
    """
    spread, option = list[str](), ""
    for word in words:
        if word.startswith("-"):
            option = word if word in MULTI_VALUE else ""
        elif option and spread[-1] != option:
            spread.append(option)
        spread.append(word)
    return spread
