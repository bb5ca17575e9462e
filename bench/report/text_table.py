"""A table as text in cells, which a terminal, Markdown and the page each draw in their own way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers are aligned to the right; a `wide` column is left out where there is no room."""

    name: str
    text: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Rows of as many cells as there are columns; `strong` is the row that the claim is about."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""
    strong: int | None = None

    @classmethod
    def of(
        cls, title: str, rows: Iterable[T], cells: Mapping[Column, Callable[[T], str]], note: str = ""
    ) -> ReportTable:
        """One row for each of `rows`, with what `cells` make of it."""
        return cls(title, list(cells), [[cell(row) for cell in cells.values()] for row in rows], note)

    def narrow(self) -> ReportTable:
        """The same without the wide columns."""
        kept = [place for place, column in enumerate(self.columns) if not column.wide]
        rows = [[row[place] for place in kept] for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in kept], rows=rows)


def words(name: str, *, wide: bool = False) -> Column:
    """A column of text."""
    return Column(name, text=True, wide=wide)


def number(name: str, *, wide: bool = False) -> Column:
    """A column of numbers."""
    return Column(name, wide=wide)
