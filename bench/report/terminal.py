"""A result as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from bench.report.conclusion import conclusion, cost, reasons
from bench.report.labels import arm_meaning, counted_sentence, incomplete, invalid_reasons, warnings
from bench.report.tables import tables
from bench.report.text_table import ReportTable
from bench.result import Result

HEAD_WIDTH = 9  # characters in a line of a column header


def terminal_report(result: Result) -> Group:
    """The tables, the conclusion and its reasons, samples that do not count, and warnings."""
    return Group(*_parts(result))


def _table(table: ReportTable) -> Table:
    """The table without its wide columns."""
    narrow = table.narrow()
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(narrow.columns):
        folds = column.text and index > 0
        justify: JustifyMethod = "left" if column.text else "right"
        head = Text("\n".join(wrap(column.name, HEAD_WIDTH)))
        drawn.add_column(head, justify=justify, no_wrap=not folds, vertical="top")
    for index, row in enumerate(narrow.rows):
        drawn.add_row(*(Text(cell) for cell in row), style="bold" if index == narrow.strong else "")
    return drawn


def _parts(result: Result) -> Iterator[RenderableType]:
    for table in tables(result):
        yield _table(table)
        yield from [Text(table.note, style="dim")] if table.note else []
        yield Text("")
    yield from _legend(result)
    yield Text(conclusion(result), style="bold")
    yield from (Text(line) for line in (*reasons(result), *cost(result)))
    yield from [Text(incomplete(result), style="yellow")] if incomplete(result) else []
    yield Text(counted_sentence(result))
    yield from (Text(f"not counted: {line}") for line in invalid_reasons(result))
    yield from (Text(f"warning: {line}", style="yellow") for line in warnings(result))


def _legend(result: Result) -> Iterator[RenderableType]:
    meanings = [(name, meaning) for name in result.arms if (meaning := arm_meaning(result, name))]
    width = max((len(name) for name, _ in meanings), default=0)
    yield from (Text(f"{name:{width}}  {meaning}", style="dim") for name, meaning in meanings)
    yield from [Text("")] if meanings else []
