"""The history's tab: a chart, one page of rows, and both as files."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from frontend.app_state import AppState
from frontend.chart import POINTS, chart
from frontend.event_options import NO_PROGRESS_NO_API
from frontend.history import History, history_csv, history_json
from frontend.history_table import history_table

PAGE = 50  # rows
SAVE = "(text) => window.arena.save('{name}', text, '{mime}')"


def history_tab(app: AppState, tab: gr.Tab) -> None:
    """Drawn when it is opened, and on demand."""
    drawn = gr.HTML("", elem_id="chart")
    with gr.Row(elem_id="history-actions"):
        newer = gr.Button("Newer", size="sm", elem_id="newer")
        older = gr.Button("Older", size="sm", elem_id="older")
        as_csv_button = gr.Button("Save as CSV", size="sm", elem_id="save-csv")
        as_json_button = gr.Button("Save as JSON", size="sm", elem_id="save-json")
    rows = gr.HTML("", elem_id="rows")
    number = gr.State(0)
    text = gr.Textbox(visible=False)

    def page(step: int) -> Any:
        async def turned(number: int, request: gr.Request) -> tuple[int, str, str]:
            history = _history(app, request)
            pages = max(1, -(-len(history.rows) // PAGE))
            now = min(max(0, number + step), pages - 1) if step else 0
            newest = list(history.rows)[-POINTS * 4 :]
            return (
                now,
                chart(newest, app.topology.engines),
                history_table(history.page(now, PAGE), now, pages, len(history.rows)),
            )

        return turned

    for trigger, step in ((tab.select, 0), (newer.click, -1), (older.click, 1)):
        trigger(page(step), number, [number, drawn, rows], **NO_PROGRESS_NO_API)

    async def csv(request: gr.Request) -> str:
        return await asyncio.to_thread(history_csv, tuple(_history(app, request).rows))

    async def json(request: gr.Request) -> str:
        rows = tuple(_history(app, request).rows)
        return await asyncio.to_thread(history_json, rows, app.settings.model)

    for button, made, name, mime in (
        (as_csv_button, csv, "history.csv", "text/csv"),
        (as_json_button, json, "history.json", "application/json"),
    ):
        saved = button.click(made, None, text, **NO_PROGRESS_NO_API)
        saved.then(None, text, None, js=SAVE.format(name=name, mime=mime))


def _history(app: AppState, request: gr.Request) -> History:
    return app.session(request.session_hash).visitor.history
