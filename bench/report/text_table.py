"""A table of text cells, independent of the format: terminal, Markdown or HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of text or of right-aligned numbers; `wide` ones are omitted if there is no room."""

    name: str
    text: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table; each row has one cell for each column. `strong` is the index of the row that the claim is about."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""
    strong: int | None = None

    @classmethod
    def of(
        cls, title: str, rows: Iterable[T], cells: Mapping[Column, Callable[[T], str]], note: str = ""
    ) -> ReportTable:
        """A table with one row for each item of `rows`; `cells` maps a column to the function that formats its cell."""
        return cls(title, list(cells), [[cell(row) for cell in cells.values()] for row in rows], note)

    def narrow(self) -> ReportTable:
        """The table without its wide columns."""
        kept = [place for place, column in enumerate(self.columns) if not column.wide]
        rows = [[row[place] for place in kept] for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in kept], rows=rows)


def words(name: str, *, wide: bool = False) -> Column:
    """A column of text."""
    return Column(name, text=True, wide=wide)


def number(name: str, *, wide: bool = False) -> Column:
    """A column of numbers."""
    return Column(name, wide=wide)
