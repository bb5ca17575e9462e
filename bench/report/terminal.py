"""A result for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from bench.report.conclusion import reasons
from bench.report.cost import cost
from bench.report.labels import arm_meaning, conclusion, counted_sentence, incomplete, invalid_reasons, warnings
from bench.report.result_fields import Fields, arms
from bench.report.tables import tables
from bench.report.text_table import ReportTable

HEAD = 9  # characters in a line of a column's head


def terminal_report(result: Fields) -> Group:
    """Tables, the conclusion, what it rests on, what did not count, and warnings."""
    return Group(*_parts(result))


def terminal_table(grid: ReportTable) -> Table:
    """One table, without its wide columns."""
    narrow = grid.narrow()
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(narrow.columns):
        folds = column.text and index > 0
        justify: JustifyMethod = "left" if column.text else "right"
        drawn.add_column(Text("\n".join(wrap(column.name, HEAD))), justify=justify, no_wrap=not folds, vertical="top")
    for index, row in enumerate(narrow.rows):
        drawn.add_row(*(Text(cell) for cell in row), style="bold" if index == narrow.strong else "")
    return drawn


def _parts(result: Fields) -> Iterator[RenderableType]:
    for grid in tables(result):
        yield terminal_table(grid)
        yield from [Text(grid.note, style="dim")] if grid.note else []
        yield Text("")
    yield from _legend(result)
    yield Text(conclusion(result), style="bold")
    yield from (Text(line) for line in (*reasons(result), *cost(result)))
    yield from [Text(incomplete(result), style="yellow")] if incomplete(result) else []
    yield Text(counted_sentence(result))
    yield from (Text(f"not counted: {line}") for line in invalid_reasons(result))
    yield from (Text(f"warning: {line}", style="yellow") for line in warnings(result))


def _legend(result: Fields) -> Iterator[RenderableType]:
    meanings = [(name, arm_meaning(result, name)) for name, _ in arms(result) if arm_meaning(result, name)]
    width = max((len(name) for name, _ in meanings), default=0)
    yield from (Text(f"{name:{width}}  {said}", style="dim") for name, said in meanings)
    yield from [Text("")] if meanings else []
