"""How long a run of the benchmark will take, by what was measured here before, and whether it can make a claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.plan import MIN_PAIRS
from frontend.history import HistoryRow
from frontend.results_list import ResultSummary

USUAL = MIN_PAIRS + 1  # documents: one may fail, and there is a claim all the same
CLAIMING = ("ttft", "mm", "aa")  # kinds whose verdict compares all documents
COMPUTED: Mapping[str, int] = {"ttft": 3, "aa": 2, "decode": 3}  # whole prompts that are computed for a document
PROMPT = 6784  # tokens of each, as the bench chooses them
ENOUGH = 1000  # computed tokens of a question, to tell an engine's pace by it
WARM_UP = 1.5  # documents that a warm-up takes as long as
UNKNOWN = (
    "Nothing was measured here yet that tells how long it will take; each line of the run says how much time is left. "
    "On two processor cores expect about a minute a document."
)


def estimate(kind: str, documents: int, results: Sequence[ResultSummary], rows: Iterable[HistoryRow]) -> str:
    """In words. `results` newest first; `rows` are the visitor's questions, oldest first."""
    per_document, source = _by_results(kind, results) or _by_questions(kind, rows) or (0.0, "")
    if not per_document:
        return UNKNOWN
    return f"It will take about {_span(per_document * (documents + WARM_UP))}, its warm-up included, going by {source}."


def too_few(kind: str, documents: int) -> str:
    """Why a run cannot make a claim; empty where it can."""
    if kind not in CLAIMING or documents >= MIN_PAIRS:
        return ""
    return f"A claim takes {MIN_PAIRS} documents: with {documents} the verdict will be «no claim»."


def _by_results(kind: str, results: Sequence[ResultSummary]) -> tuple[float, str] | None:
    whole = [each for each in results if each.complete and each.documents and each.duration]
    if same := next((each for each in whole if each.kind == kind), None):
        return same.duration / same.documents, f"the run {same.name}"
    if kind in COMPUTED and (like := next((each for each in whole if each.kind in COMPUTED), None)):
        return like.duration / like.documents / COMPUTED[like.kind] * COMPUTED[kind], f"the run {like.name}"
    return None


def _by_questions(kind: str, rows: Iterable[HistoryRow]) -> tuple[float, str] | None:
    paces = [
        row.reply.ttft / row.reply.sources.computed
        for row in rows
        if row.reply and row.reply.sources and row.reply.sources.computed >= ENOUGH
    ]
    if not paces or kind not in COMPUTED:
        return None
    return paces[-1] * PROMPT * COMPUTED[kind], "your last question that an engine computed"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
