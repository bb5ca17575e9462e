"""A table as text in cells, which a terminal, Markdown and the page each draw in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A `wide` one is left out where there is no room."""

    name: str
    text: bool = False  # else a number, to the right
    wide: bool = False


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Rows of as many cells as there are columns; `strong` is the row that the claim is about."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    note: str = ""
    strong: int | None = None

    def narrow(self) -> ReportTable:
        """The same without the wide columns."""
        kept = [index for index, column in enumerate(self.columns) if not column.wide]
        columns = [self.columns[index] for index in kept]
        return ReportTable(
            self.title, columns, [[row[index] for index in kept] for row in self.rows], self.note, self.strong
        )


def text_column(*names: str) -> list[Column]:
    """Columns of words."""
    return [Column(name, text=True) for name in names]


def number_column(*names: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(name) for name in names]
