"""A result as Markdown, to be pasted into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bench.report.conclusion import reasons
from bench.report.cost import cost
from bench.report.details import break_even, invalid, preflight_table, settings_table
from bench.report.labels import KINDS, conclusion, counted_sentence, incomplete, warnings
from bench.report.result_fields import Fields
from bench.report.tables import distributions, tables
from bench.report.text_table import ReportTable


def markdown_report(result: Fields) -> str:
    """The whole report without raw rows and plots."""
    return "\n\n".join(_parts(result)) + "\n"


def markdown_table(grid: ReportTable) -> str:
    """One table, cells escaped."""
    head = _row([column.name for column in grid.columns])
    rule = "|" + "|".join("---" if column.text else "---:" for column in grid.columns) + "|"
    return "\n".join([head, rule, *(_strong(grid, index, row) for index, row in enumerate(grid.rows))])


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*\[\]<>|#~])", r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def _parts(result: Fields) -> Iterator[str]:
    yield f"# {KINDS.get(str(result.get('kind')), 'Result')}"
    yield f"**{escape(conclusion(result))}**"
    yield from _lines([text for text in (incomplete(result), *reasons(result)) if text])
    for grid in tables(result):
        yield from _titled(grid)
    yield from _section("What storing costs", cost(result))
    yield from _section("What counted", [counted_sentence(result)])
    yield from _table(invalid(result))
    yield from _section("Warnings", warnings(result))
    yield "## How it was measured"
    for grid in (settings_table(result), preflight_table(result), break_even(result)):
        yield from _table(grid)
    yield from _titled(distributions(result))


def _titled(grid: ReportTable) -> Iterator[str]:
    if grid.rows:
        yield f"## {grid.title}"
        yield from _table(grid)


def _table(grid: ReportTable) -> Iterator[str]:
    if grid.rows:
        yield markdown_table(grid)
        yield from [escape(grid.note)] if grid.note else []


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"## {title}"
        yield from _lines(lines)


def _lines(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "\n".join(f"- {escape(line)}" for line in lines)


def _strong(grid: ReportTable, index: int, row: Sequence[str]) -> str:
    if index != grid.strong:
        return _row(row)
    return "| " + " | ".join(f"**{escape(cell)}**" if cell else "" for cell in row) + " |"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"
