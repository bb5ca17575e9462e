"""The benchmark's tab: start and cancel a run, watch it, see its report, compare results."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from engines.errors import ArenaError
from frontend.house import House
from frontend.prose import plain
from frontend.studies import KINDS, earlier, report, results_folder
from frontend.studies_view import framed, progress, results_table

POLL_S = 1
PRIVATE: Any = {"show_progress": "hidden", "api_visibility": "private"}
ABOUT = (
    "Runs `./arena bench` as it is on the command line. One run at a time for all visitors, and no questions "
    "meanwhile: both would measure each other."
)


def bench_tab(house: House, tab: gr.Tab) -> None:
    """Whoever opens it sees the run of whoever started it."""
    gr.Markdown(ABOUT)
    with gr.Row(elem_id="bench-actions", equal_height=False):
        kind = gr.Dropdown(list(KINDS), value="ttft", label="Question", elem_id="bench-kind")
        number = gr.Number(3, label="Fresh documents", precision=0, minimum=1, maximum=1000, elem_id="bench-number")
        start = gr.Button("Run", variant="primary", elem_id="bench-run")
        cancel = gr.Button("Cancel", elem_id="bench-cancel")
    run = gr.HTML(progress(None), elem_id="bench-progress")
    gr.HTML("<h2>Results</h2>")
    table = gr.HTML("", elem_id="bench-results")
    with gr.Row(elem_id="bench-compare-row", equal_height=False):
        one = gr.Dropdown([], label="Result", elem_id="bench-one", allow_custom_value=True)
        other = gr.Dropdown([], label="Compare with", elem_id="bench-other", allow_custom_value=True)
        show = gr.Button("Show the report", elem_id="bench-show")
        compare = gr.Button("Compare", elem_id="bench-compare")
    said = gr.HTML("", elem_id="bench-said")
    frame = gr.HTML("", elem_id="bench-report")
    timer = gr.Timer(POLL_S, active=False)
    results = [run, timer, table, one, other]

    def listed() -> tuple[Any, ...]:
        found = earlier(results_folder())
        names = [result.name for result in found]
        now = house.studies.now
        running = now is not None and now.code is None
        first, second = ([*names, None, None])[:2]
        chosen = gr.update(choices=names, value=first), gr.update(choices=names, value=second)
        return progress(now), gr.update(active=running), results_table(found), *chosen

    async def begun(kind: str, number: int) -> tuple[Any, Any]:
        try:
            await house.studies.start(kind, int(number or 0))
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not started")
        return progress(house.studies.now), gr.update(active=True)

    async def watched() -> tuple[Any, ...]:
        now = house.studies.now
        if now and now.code is None:
            return progress(now), *[gr.skip()] * 5
        return *listed(), _report_of(now.folder.name) if now else gr.skip()

    async def stopped() -> None:
        house.studies.cancel()

    async def compared(one: str | None, other: str | None) -> str:
        try:
            return (
                f'<pre class="compared" tabindex="0">{plain(await house.studies.compare(other or "", one or ""))}</pre>'
            )
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not compared")
            return ""

    tab.select(listed, None, results, **PRIVATE)
    start.click(begun, [kind, number], [run, timer], **PRIVATE)
    cancel.click(stopped, None, None, **PRIVATE)
    timer.tick(watched, None, [*results, frame], **PRIVATE)
    show.click(_report_of, one, frame, **PRIVATE)
    compare.click(compared, [one, other], said, **PRIVATE)


def _report_of(name: str | None) -> str:
    """In its frame; a run that was cancelled early may have none."""
    try:
        return framed(report(results_folder(), name or ""))
    except ArenaError as exc:
        return f'<p class="quiet">{plain(str(exc))}</p>'
