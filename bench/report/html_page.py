"""A result as one HTML file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from bench.report.conclusion import evidence, headline, reasons
from bench.report.cost import cost
from bench.report.details import break_even, invalid, preflight_table, samples_table, settings_table
from bench.report.labels import KINDS, counted_sentence, incomplete, warnings
from bench.report.plots import plots
from bench.report.result_fields import Fields
from bench.report.stylesheet import CSS
from bench.report.tables import distributions, tables
from bench.report.text_table import Column, ReportTable

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # should text ever slip through, nothing is loaded or run
SENTENCE = 24  # characters


def html_report(result: Fields) -> str:
    """The whole document: the claim first, the raw rows last."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(_title(result))}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(_parts(result))
        + "\n</main>\n</body>\n</html>\n"
    )


def _parts(result: Fields) -> Iterator[str]:
    yield _head(result)
    for grid in tables(result):
        yield from _titled(grid)
    yield from _figures(result)
    yield from _section("What storing costs", _paragraphs(cost(result)))
    yield from _section("What counted", [_p(counted_sentence(result)), *_table(invalid(result))])
    yield from _section("Warnings", _list(warnings(result)))
    yield from _section("How it was measured", _measured(result))
    yield from _details(distributions(result))
    yield from _details(samples_table(result))


def _title(result: Fields) -> str:
    return str(result.get("label") or KINDS.get(str(result.get("kind")), "Result"))


def _head(result: Fields) -> str:
    origin = " · ".join(str(result[name]) for name in ("model_id", "date") if result.get(name))
    cut = incomplete(result)
    lines = [
        f'<p class="origin"><b>{escape(_title(result))}</b> {escape(origin)}</p>',
        f"<h1>{escape(headline(result))}</h1>",
        f'<p class="evidence">{escape(evidence(result))}</p>' if evidence(result) else "",
        f'<p class="cut" role="note">{escape(cut)}</p>' if cut else "",
        *(f'<p class="reason">{escape(text)}</p>' for text in reasons(result)),
    ]
    return "<header>\n" + "\n".join(line for line in lines if line) + "\n</header>"


def _figures(result: Fields) -> Iterator[str]:
    drawn = plots(result)
    cards = [f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" for caption, svg in drawn.items()]
    if cards:
        yield '<section class="plots">\n' + "\n".join(cards) + "\n</section>"


def _measured(result: Fields) -> Iterator[str]:
    for grid in (settings_table(result), preflight_table(result), break_even(result)):
        if grid.rows:
            yield f"<h3>{escape(grid.title)}</h3>"
            yield from _table(grid)


def _titled(grid: ReportTable) -> Iterator[str]:
    if grid.rows:
        yield from _section(grid.title, _table(grid))


def _details(grid: ReportTable) -> Iterator[str]:
    if grid.rows:
        inside = "\n".join(_table(grid))
        yield f"<details>\n<summary>{escape(grid.title)} ({len(grid.rows)} rows)</summary>\n{inside}\n</details>"


def _section(title: str, body: Iterable[str]) -> Iterator[str]:
    if inside := "\n".join(body):
        yield f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>"


def _table(grid: ReportTable) -> Iterator[str]:
    if not grid.rows:
        return
    looks = [_look(column, [row[index] for row in grid.rows]) for index, column in enumerate(grid.columns)]
    head = _row("th", looks, [column.name for column in grid.columns])
    body = "\n".join(_row("td", looks, row, strong=index == grid.strong) for index, row in enumerate(grid.rows))
    yield (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(grid.title)}">\n'
        f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )
    yield from [f'<p class="note">{escape(grid.note)}</p>'] if grid.note else []


def _look(column: Column, cells: Sequence[str]) -> str:
    """The class of a column: numbers, or sentences, which a phone must not squeeze."""
    if not column.text:
        return " class=n"
    return " class=prose" if max(map(len, cells)) > SENTENCE else ""


def _row(tag: str, looks: Sequence[str], cells: Sequence[str], *, strong: bool = False) -> str:
    inside = "".join(f"<{tag}{look}>{escape(cell)}</{tag}>" for look, cell in zip(looks, cells, strict=True))
    return f"<tr{' class=strong' if strong else ''}>{inside}</tr>"


def _list(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    return (_p(line) for line in lines)


def _p(text: str) -> str:
    return f"<p>{escape(text)}</p>"
