"""The benchmark's tab: start and cancel a run, watch it, see its report, compare results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from config.errors import ArenaError
from frontend.app_state import AppState
from frontend.bench_runs import KINDS, BenchRun, BenchRunner, kinds
from frontend.bench_view import framed, progress, results_table
from frontend.estimate import USUAL, estimate, too_few
from frontend.event_options import NO_PROGRESS_NO_API
from frontend.history import HistoryRow
from frontend.sanitize import escape_html
from frontend.tab_timer import timer_while_selected

POLL_S = 1
ABOUT = (
    "Runs `./arena bench` as it is on the command line. One run at a time for all visitors, and no questions "
    "meanwhile: both would measure each other."
)
NO_STORAGE = " `storage` is not among them: it writes to the KV volume, which this page may only read."


def bench_tab(app: AppState, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Whoever has it open sees the run of whoever started it."""
    offered = kinds(app.settings)
    gr.Markdown(ABOUT if offered == KINDS else ABOUT + NO_STORAGE)
    with gr.Row(elem_id="bench-actions", equal_height=False):
        kind = gr.Dropdown(list(offered), value="ttft", label="Question", elem_id="bench-kind")
        number = gr.Number(USUAL, label="Fresh documents", precision=0, minimum=1, maximum=1000, elem_id="bench-number")
        start = gr.Button("Run", variant="primary", elem_id="bench-run", interactive=not app.read_only_reason)
        cancel = gr.Button("Cancel", elem_id="bench-cancel", interactive=not app.read_only_reason)
    if app.read_only_reason:
        gr.HTML(f'<p class="note">{escape_html(app.read_only_reason)}</p>', elem_id="bench-locked")
    expected = gr.HTML("", elem_id="bench-expected")
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
    seen = gr.State(None)
    shown = [seen, run, table, one, other, frame]

    does = BenchHandlers(app.bench_runner, app.check_not_read_only)

    async def expect(kind: str, documents: int | None, request: gr.Request) -> str:
        rows = tuple(app.session(request.session_hash).visitor.history.rows)
        return await does.expected(kind, int(documents or 0), rows)

    for changed in (tab.select, kind.input, number.input):
        changed(expect, [kind, number], expected, **NO_PROGRESS_NO_API)
    tab.select(does.look, seen, shown, **NO_PROGRESS_NO_API)
    timer_while_selected(tabs, tab, POLL_S).tick(does.watch, seen, shown, **NO_PROGRESS_NO_API)
    start.click(does.start, [kind, number], [run, frame], **NO_PROGRESS_NO_API)
    cancel.click(does.cancel, None, None, **NO_PROGRESS_NO_API)
    show.click(does.report, one, frame, **NO_PROGRESS_NO_API)
    compare.click(does.compare, [one, other], said, **NO_PROGRESS_NO_API)


class BenchHandlers:
    """What they return for all of the tab: the run as it was seen, its lines, the list, two choices of it, a report."""

    def __init__(self, studies: BenchRunner, check_not_read_only: Callable[[], None] = lambda: None) -> None:
        self.studies, self.check_not_read_only = studies, check_not_read_only

    async def expected(self, kind: str, documents: int, rows: Sequence[HistoryRow]) -> str:
        """What a run will take, and whether it can make a claim."""
        warning = too_few(kind, documents)
        said = f'<p class="quiet">{escape_html(estimate(kind, documents, await self.studies.earlier(), rows))}</p>'
        return f'<p class="fault">{escape_html(warning)}</p>{said}' if warning else said

    async def look(self, seen: BenchRun | None) -> tuple[Any, ...]:
        """Everything; a report when the run has ended since it was seen last."""
        now = self.studies.now
        found = await self.studies.earlier()
        names = [result.name for result in found]
        first, second = ([*names, None, None])[:2]
        chosen = gr.update(choices=names, value=first), gr.update(choices=names, value=second)
        report = await self._ended(now) if now and now.code is not None and now != seen else gr.skip()
        return now, progress(now), results_table(found), *chosen, report

    async def watch(self, seen: BenchRun | None) -> tuple[Any, ...]:
        """A run's lines as they come, and at its end its report: whoever began it."""
        now, nothing = self.studies.now, gr.skip()
        if now is None or now == seen:
            return (nothing,) * 6
        if now.code is None:
            return now, progress(now), nothing, nothing, nothing, nothing
        return await self.look(seen)

    async def start(self, kind: str, number: int) -> tuple[Any, Any]:
        """The run, and no report any more."""
        try:
            self.check_not_read_only()
            await self.studies.start(kind, int(number or 0))
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not started")
            return gr.skip(), gr.skip()
        if warning := too_few(kind, int(number)):
            gr.Warning(warning, title="Started")
        return progress(self.studies.now), ""

    async def cancel(self) -> None:
        try:
            self.check_not_read_only()
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not cancelled")
            return
        self.studies.cancel()

    async def compare(self, one: str | None, other: str | None) -> str:
        try:
            said = escape_html(await self.studies.compare(other or "", one or ""))
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not compared")
            return ""
        return f'<pre class="compared" tabindex="0">{said}</pre>'

    async def report(self, name: str | None) -> str:
        """In its frame, or why there is none."""
        try:
            return framed(await self.studies.report(name or ""))
        except ArenaError as exc:
            return f'<p class="quiet">{escape_html(str(exc))}</p>'

    async def _ended(self, now: BenchRun) -> str:
        """What a run has to show for itself; one that was cancelled while it warmed up has measured nothing."""
        if await asyncio.to_thread((now.folder / "result.json").exists):
            return await self.report(now.folder.name)
        return '<p class="quiet">Nothing was measured yet, so there is no report.</p>'
