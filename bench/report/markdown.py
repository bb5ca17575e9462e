"""A result as Markdown, to be pasted into an issue. The HTML page is also made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bench.report.conclusion import conclusion, cost, reasons
from bench.report.details import break_even_table, invalid_table, preflight_table, settings_table
from bench.report.labels import KINDS, counted_sentence, incomplete, warnings
from bench.report.tables import latencies_table, tables
from bench.report.text_table import ReportTable
from bench.result import Result


def markdown_report(result: Result) -> str:
    """The whole report except for raw samples and plots."""
    return f"{markdown_findings(result)}\n\n{markdown_background(result)}\n"


def markdown_findings(result: Result) -> str:
    """The first half of the report: the claim and the main tables."""
    return "\n\n".join(_findings(result))


def markdown_background(result: Result) -> str:
    """The second half of the report: what storing costs, what counted, and how it was measured."""
    return "\n\n".join(_background(result))


def markdown_table(table: ReportTable) -> str:
    """A Markdown table with escaped cells."""
    head = _row([column.name for column in table.columns])
    rule = "|" + "|".join("---" if column.text else "---:" for column in table.columns) + "|"
    return "\n".join([head, rule, *(_strong(table, index, row) for index, row in enumerate(table.rows))])


def escape(text: str) -> str:
    """Escapes text so that Markdown shows it literally, on one line. Underscores within a word need no escape."""
    return re.sub(r"([\\`*\[\]<>|#~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def _findings(result: Result) -> Iterator[str]:
    yield f"# {KINDS.get(result.kind, 'Result')}"
    yield f"**{escape(conclusion(result))}**"
    yield from _lines([text for text in (incomplete(result), *reasons(result)) if text])
    for table in tables(result):
        yield from _titled(table)


def _background(result: Result) -> Iterator[str]:
    yield from _section("What storing costs", cost(result))
    yield from _section("What counted", [counted_sentence(result)])
    yield from _table(invalid_table(result))
    yield from _section("Warnings", warnings(result))
    yield "## How it was measured"
    for table in (settings_table(result), preflight_table(result), break_even_table(result)):
        yield from _table(table)
    yield from _titled(latencies_table(result))


def _titled(table: ReportTable) -> Iterator[str]:
    if table.rows:
        yield f"## {table.title}"
        yield from _table(table)


def _table(table: ReportTable) -> Iterator[str]:
    if table.rows:
        yield markdown_table(table)
        yield from [_paragraph(table.note)] if table.note else []


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"## {title}"
        yield from _lines(lines)


def _lines(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "\n".join(f"- {_paragraph(line)}" for line in lines)


def _paragraph(text: str) -> str:
    """Escapes text, including a start that would make it a list item."""
    return re.sub(r"^(\d*)([-+.)])(?= |$)", r"\1\\\2", escape(text))


def _strong(table: ReportTable, index: int, row: Sequence[str]) -> str:
    if index != table.strong:
        return _row(row)
    return "| " + " | ".join(f"**{escape(cell)}**" if cell else "" for cell in row) + " |"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"
