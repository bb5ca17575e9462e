"""The History tab: a chart, one page of rows as a table, and all rows as files.

The table is plain HTML because gr.Dataframe draws only the visible rows and has neither a caption nor pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from frontend.app_state import AppState
from frontend.bars import seconds
from frontend.chart import chart
from frontend.event_options import NO_PROGRESS_NO_API
from frontend.history import HistoryRow, history_csv, history_json
from frontend.sanitize import escape_html, one_line

PAGE_ROWS = 50
MAX_QUESTION, MAX_REASON = 140, 160  # characters that the table shows
COLUMNS = ("#", "time", "engine", "question", "TTFT", "cached", "source")
SAVE = "(text) => window.arena.save('{name}', text, '{mime}')"


def history_tab(app: AppState, tab: gr.Tab) -> None:
    """Builds the tab, which is drawn when it is opened and when a button is clicked."""
    drawn = gr.HTML("", elem_id="chart")
    with gr.Row(elem_id="history-actions"):
        newer = gr.Button("Newer", size="sm", elem_id="newer")
        older = gr.Button("Older", size="sm", elem_id="older")
        as_csv = gr.Button("Save as CSV", size="sm", elem_id="save-csv")
        as_json = gr.Button("Save as JSON", size="sm", elem_id="save-json")
    table = gr.HTML("", elem_id="rows")
    number, text = gr.State(0), gr.Textbox(visible=False)

    def rows_of(request: gr.Request) -> Sequence[HistoryRow]:
        return tuple(app.session(request.session_hash).visitor.history.rows)

    def draw(step: int | None) -> Callable[..., Any]:
        async def drawn(number: int, request: gr.Request) -> tuple[int, str, str]:
            rows = rows_of(request)
            page = 0 if step is None else min(max(0, number + step), last_page(rows))
            return page, chart(rows, app.topology.engines), history_table(rows, page)

        return drawn

    def export(make: Callable[[Sequence[HistoryRow]], str]) -> Callable[..., Any]:
        async def exported(request: gr.Request) -> str:
            return await asyncio.to_thread(make, rows_of(request))

        return exported

    for trigger, step in ((tab.select, None), (newer.click, -1), (older.click, 1)):
        trigger(draw(step), number, [number, drawn, table], **NO_PROGRESS_NO_API)
    for button, make, name, mime in (
        (as_csv, history_csv, "history.csv", "text/csv"),
        (as_json, partial(history_json, model=app.settings.model), "history.json", "application/json"),
    ):
        saved = button.click(export(make), None, text, **NO_PROGRESS_NO_API)
        saved.then(None, text, None, js=SAVE.format(name=name, mime=mime))


def last_page(rows: Sequence[HistoryRow]) -> int:
    """Returns the number of the last page, counting from 0."""
    return max(0, len(rows) - 1) // PAGE_ROWS


def history_table(rows: Sequence[HistoryRow], page: int) -> str:
    """Returns one page of `rows` as a table, newest first; page 0 has the newest."""
    if not rows:
        return ""
    head = "".join(f"<th scope='col'>{name}</th>" for name in COLUMNS)
    body = "".join(map(_table_row, rows[::-1][page * PAGE_ROWS : (page + 1) * PAGE_ROWS]))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Questions"><table class="history"><caption>'
        f"{len(rows):,} rows, page {page + 1} of {last_page(rows) + 1}; times are UTC</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _table_row(row: HistoryRow) -> str:
    media = f"[{', '.join(row.media)}] " if row.media else ""
    question = escape_html(one_line(media + row.prompt.question, MAX_QUESTION))
    if row.reply:
        usage = row.reply.usage
        cached = f"{usage.cached} of {usage.prompt_tokens:,}"
        result = f"<td>{seconds(row.reply.ttft)}</td><td>{cached}</td><td>{row.reply.source}</td>"
    else:
        result = f'<td colspan="3" class="fault">{escape_html(row.reason[:MAX_REASON])}</td>'
    return (
        f'<tr><td>{row.number}</td><td>{row.at:%H:%M:%S}</td><td><span class="who {row.engine}">{row.engine}</span>'
        f"</td><td>{question}</td>{result}</tr>"
    )
