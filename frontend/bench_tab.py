"""The Bench tab: start, watch or cancel a run, read its report, and compare results."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr

from bench.plan import MIN_PAIRS
from config.errors import ArenaError
from frontend.app_state import AppState
from frontend.bench_runs import KINDS, MAX_DOCUMENTS, BenchRun, BenchRunner, kinds
from frontend.event_options import NO_PROGRESS_NO_API, timer_while_selected
from frontend.history import HistoryRow
from frontend.results_list import ResultSummary
from frontend.sanitize import escape_html

POLL_S = 1
SHOWN_LINES, SHOWN_RESULTS = 40, 50
DEFAULT_DOCUMENTS = MIN_PAIRS + 1  # enough for a claim even if one fails
ABOUT = (
    "Runs `./arena bench` as it is on the command line. One run at a time for all visitors, and no questions "
    "meanwhile: both would disturb each other's timings."
)
NO_STORAGE = " `storage` is not among them: it writes to the KV volume, which this page may only read."
STEP = re.compile(r"^(\d+)/(\d+) ")  # samples measured so far, and in total
STATES = {None: "running", 0: "done", 130: "cancelled"}  # by exit code

# For estimating how long a run takes
CLAIMING = ("ttft", "mm", "aa")  # kinds whose verdict compares all documents
COMPUTED_PROMPTS: Mapping[str, int] = {"ttft": 3, "aa": 2, "decode": 3}  # prompts computed in full, for each document
PROMPT_TOKENS = 6816  # length of each prompt, the bench's default
MIN_COMPUTED_TOKENS = 1000  # fewest computed tokens from which an engine's pace is estimated
WARM_UP_DOCUMENTS = 1.5  # the warm-up takes as long as this many documents
UNKNOWN_DURATION = (
    "Nothing was measured here yet by which to estimate how long it will take; each line of the run says how much time "
    "is left. On two processor cores expect about a minute a document."
)


def bench_tab(app: AppState, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Builds the tab. All visitors see the same run."""
    offered = kinds(app.settings)
    gr.Markdown(ABOUT if offered == KINDS else ABOUT + NO_STORAGE)
    with gr.Row(elem_id="bench-actions", equal_height=False):
        kind = gr.Dropdown(list(offered), value="ttft", label="Question", elem_id="bench-kind")
        number = gr.Number(
            DEFAULT_DOCUMENTS,
            label="Fresh documents",
            precision=0,
            minimum=1,
            maximum=MAX_DOCUMENTS,
            elem_id="bench-number",
        )
        start = gr.Button("Run", variant="primary", elem_id="bench-run", interactive=not app.read_only_reason)
        cancel = gr.Button("Cancel", elem_id="bench-cancel", interactive=not app.read_only_reason)
    if app.read_only_reason:
        gr.HTML(f'<p class="note">{escape_html(app.read_only_reason)}</p>', elem_id="bench-locked")
    expected = gr.HTML("", elem_id="bench-expected")
    run = gr.HTML(run_html(None), elem_id="bench-progress")
    gr.HTML("<h2>Results</h2>")
    table = gr.HTML("", elem_id="bench-results")
    with gr.Row(elem_id="bench-compare-row", equal_height=False):
        one = gr.Dropdown([], label="Result", elem_id="bench-one", allow_custom_value=True)
        other = gr.Dropdown([], label="Compare with", elem_id="bench-other", allow_custom_value=True)
        show = gr.Button("Show the report", elem_id="bench-show")
        compare = gr.Button("Compare", elem_id="bench-compare")
    compared = gr.HTML("", elem_id="bench-said")
    report = gr.HTML("", elem_id="bench-report")
    seen = gr.State(None)
    shown = [seen, run, table, one, other, report]

    handlers = BenchHandlers(app.bench_runner, app.check_not_read_only)

    async def expect(kind: str, documents: int | None, request: gr.Request) -> str:
        rows = tuple(app.session(request.session_hash).visitor.history.rows)
        return await handlers.expected(kind, int(documents or 0), rows)

    for trigger in (tab.select, kind.input, number.input):
        trigger(expect, [kind, number], expected, **NO_PROGRESS_NO_API)
    tab.select(handlers.look, seen, shown, **NO_PROGRESS_NO_API)
    timer_while_selected(tabs, tab, POLL_S).tick(handlers.watch, seen, shown, **NO_PROGRESS_NO_API)
    start.click(handlers.start, [kind, number], [run, report], **NO_PROGRESS_NO_API)
    cancel.click(handlers.cancel, None, None, **NO_PROGRESS_NO_API)
    show.click(handlers.report, one, report, **NO_PROGRESS_NO_API)
    compare.click(handlers.compare, [one, other], compared, **NO_PROGRESS_NO_API)


class BenchHandlers:
    """`look` and `watch` return, in this order: the run, its lines, the table of results, two choices of a result,
    and a report."""

    def __init__(self, runner: BenchRunner, check_not_read_only: Callable[[], None] = lambda: None) -> None:
        self.runner, self.check_not_read_only = runner, check_not_read_only

    async def expected(self, kind: str, documents: int, rows: Sequence[HistoryRow]) -> str:
        """Returns how long a run will take, with a warning if it cannot support a claim."""
        warning = no_claim_warning(kind, documents)
        said = f'<p class="quiet">{escape_html(estimate(kind, documents, await self.runner.earlier(), rows))}</p>'
        return f'<p class="fault">{escape_html(warning)}</p>{said}' if warning else said

    async def look(self, seen: BenchRun | None) -> tuple[Any, ...]:
        """Returns all values; the report is skipped unless the run has ended since it was `seen`."""
        now = self.runner.now
        found = await self.runner.earlier()
        names = [result.name for result in found]
        first, second = ([*names, None, None])[:2]
        chosen = gr.update(choices=names, value=first), gr.update(choices=names, value=second)
        report = await self._last_report(now) if now and now.code is not None and now != seen else gr.skip()
        return now, run_html(now), results_table(found), *chosen, report

    async def watch(self, seen: BenchRun | None) -> tuple[Any, ...]:
        """Returns the lines of the run in progress, and all values once it has ended."""
        now, skip = self.runner.now, gr.skip()
        if now is None or now == seen:
            return (skip,) * 6
        if now.code is None:
            return now, run_html(now), skip, skip, skip, skip
        return await self.look(seen)

    async def start(self, kind: str, number: int | None) -> tuple[Any, Any]:
        """Starts a run; returns its first lines and an empty report."""
        with _errors_as_warnings("Not started"):
            self.check_not_read_only()
            documents = int(number or 0)
            await self.runner.start(kind, documents)
            if warning := no_claim_warning(kind, documents):
                gr.Warning(warning, title="Started")
            return run_html(self.runner.now), ""
        return gr.skip(), gr.skip()

    async def cancel(self) -> None:
        with _errors_as_warnings("Not cancelled"):
            self.check_not_read_only()
            self.runner.cancel()

    async def compare(self, one: str | None, other: str | None) -> str:
        with _errors_as_warnings("Not compared"):
            text = escape_html(await self.runner.compare(other or "", one or ""))
            return f'<pre class="compared" tabindex="0">{text}</pre>'
        return ""

    async def report(self, name: str | None) -> str:
        """Returns the report in its frame, or why there is none."""
        try:
            return report_frame(await self.runner.report(name or ""))
        except ArenaError as exc:
            return f'<p class="quiet">{escape_html(str(exc))}</p>'

    async def _last_report(self, run: BenchRun) -> str:
        """Returns the run's report; a run cancelled during its warm-up has none."""
        if await asyncio.to_thread((run.folder / "result.json").exists):
            return await self.report(run.folder.name)
        return '<p class="quiet">Nothing was measured yet, so there is no report.</p>'


@contextmanager
def _errors_as_warnings(title: str) -> Iterator[None]:
    """Shows an ArenaError raised in the block to the visitor as a warning, and ends the block."""
    try:
        yield
    except ArenaError as exc:
        gr.Warning(escape(str(exc)), title=title)


def run_html(run: BenchRun | None) -> str:
    """Returns the newest lines, below a bar that shows the share of samples measured so far."""
    if run is None:
        return '<p class="quiet">No run of this page yet.</p>'
    step = next((match for line in reversed(run.lines) if (match := STEP.match(line))), None)
    share = 100 * int(step[1]) / max(1, int(step[2])) if step else 0
    state = STATES.get(run.code, f"ended with exit code {run.code}")
    lines = escape_html("\n".join(run.lines[-SHOWN_LINES:]))
    return (
        f'<section class="study" data-state="{"running" if run.code is None else "ended"}" aria-label="Run">'
        f'<p role="status"><b>bench {run.kind}</b>: {state} · <code>{escape_html(run.folder.name)}</code></p>'
        f'<div class="meter" role="meter" aria-label="Documents measured" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><span style="width:{share:.0f}%"></span></div>'
        f'<pre tabindex="0" aria-label="What the bench says">{lines}</pre></section>'
    )


def results_table(results: Sequence[ResultSummary]) -> str:
    """Returns a table of the newest results and their verdicts."""
    if not results:
        return '<p class="quiet">No results yet.</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in ("result", "kind", "date", "samples", "verdict"))
    body = ""
    for each in results[:SHOWN_RESULTS]:
        date = each.date[:16].replace("T", " ")
        verdict = each.verdict if each.complete else "not complete"
        cells = (each.name, each.kind, date, f"{each.completed:,}", verdict)
        body += f"<tr>{''.join(f'<td>{escape_html(cell)}</td>' for cell in cells)}</tr>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Results"><table class="history"><thead><tr>{head}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def report_frame(report: str) -> str:
    """Returns the report in a sandboxed frame: its scripts, forms and references to other hosts have no effect."""
    return f'<iframe class="report" sandbox="" title="Report" srcdoc="{escape(report)}"></iframe>'


def no_claim_warning(kind: str, documents: int) -> str:
    """Returns why a run cannot support a claim; empty if it can."""
    if kind not in CLAIMING or documents >= MIN_PAIRS:
        return ""
    return f"A claim takes {MIN_PAIRS} documents: with {documents} the verdict will be «no claim»."


def estimate(kind: str, documents: int, results: Sequence[ResultSummary], rows: Iterable[HistoryRow]) -> str:
    """Estimates how long a run will take. `results` are newest first; `rows`, the visitor's questions, oldest first."""
    found = _seconds_by_results(kind, results) or _seconds_by_questions(kind, rows)
    if not found:
        return UNKNOWN_DURATION
    per_document, source = found
    seconds = per_document * (documents + WARM_UP_DOCUMENTS)
    if seconds < 90:
        span = f"{max(10, round(seconds, -1)):.0f} seconds"
    else:
        span = f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
    return f"It will take about {span}, its warm-up included, going by {source}."


def _seconds_by_results(kind: str, results: Sequence[ResultSummary]) -> tuple[float, str] | None:
    """Returns the seconds per document and their source: the newest run of this kind or of one with like prompts."""
    whole = [each for each in results if each.complete and each.documents and each.duration]
    if same := next((each for each in whole if each.kind == kind), None):
        return same.duration / same.documents, f"the run {same.name}"
    alike = next((each for each in whole if each.kind in COMPUTED_PROMPTS), None)
    if alike is None or kind not in COMPUTED_PROMPTS:
        return None
    per_prompt = alike.duration / alike.documents / COMPUTED_PROMPTS[alike.kind]
    return per_prompt * COMPUTED_PROMPTS[kind], f"the run {alike.name}"


def _seconds_by_questions(kind: str, rows: Iterable[HistoryRow]) -> tuple[float, str] | None:
    """Returns the same as above, from the pace of the last question whose prompt an engine computed."""
    paces = [
        row.reply.ttft / row.reply.sources.computed
        for row in rows
        if row.reply and row.reply.sources and row.reply.sources.computed >= MIN_COMPUTED_TOKENS
    ]
    if not paces or kind not in COMPUTED_PROMPTS:
        return None
    return paces[-1] * PROMPT_TOKENS * COMPUTED_PROMPTS[kind], "your last question that an engine computed"
