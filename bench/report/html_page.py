"""A result as one HTML file without scripts or external files: the Markdown report, plots and all samples."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bench.report.details import samples_table
from bench.report.labels import KINDS
from bench.report.markdown import markdown_background, markdown_findings
from bench.report.plots import Plot, plots
from bench.report.text_table import ReportTable
from bench.result import Result

# If text from a result ever became markup despite all escaping, the browser would still load and run nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
CSS = Path(__file__).with_name("report.css")


def _table_open(title: str) -> str:
    """The start of a table that scrolls separately from the page on a narrow screen."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">\n<table>\n'


def _titled_table(_renderer: object, tokens: Sequence[Token], index: int, *_: object) -> str:
    headings = [tokens[place + 1].content for place in range(index) if tokens[place].type == "heading_open"]
    return _table_open(headings[-1] if headings else "Table")


_markdown = MarkdownIt("zero").enable(["heading", "list", "table", "emphasis", "escape", "entity"])
_markdown.add_render_rule("table_open", _titled_table)
_markdown.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")


def html_report(result: Result) -> str:
    """The whole HTML document, with the claim first and the samples last."""
    title = result.label or KINDS.get(result.kind, "Result")
    origin = " · ".join(text for text in (title, result.model_id, result.date) if text)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        f'<p class="origin">{escape(origin)}</p>\n'
        f"{_markdown.render(markdown_findings(result))}"
        f"{_figures(plots(result))}"
        f"{_markdown.render(markdown_background(result))}"
        f"{_raw_rows(samples_table(result))}</main>\n</body>\n</html>\n"
    )


def _figures(drawn: Sequence[Plot]) -> str:
    if not drawn:
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(plot.description)}" src="data:image/svg+xml;base64,{b64encode(plot.svg).decode()}">'
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>\n"
        for plot in drawn
    )
    return f'<section class="plots">\n{figures}</section>\n'


def _raw_rows(table: ReportTable) -> str:
    """A long table in a collapsible section. Rendering thousands of rows by way of Markdown would take seconds."""
    if not table.rows:
        return ""
    aligned = ["<td>" if column.text else '<td style="text-align:right">' for column in table.columns]
    head = "".join(f"<th>{escape(column.name)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"{tag}{escape(cell)}</td>" for tag, cell in zip(aligned, row, strict=True)) + "</tr>\n"
        for row in table.rows
    )
    return (
        f"<details>\n<summary>{escape(table.title)} ({len(table.rows)} rows)</summary>\n"
        f"{_table_open(table.title)}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</details>\n"
    )
