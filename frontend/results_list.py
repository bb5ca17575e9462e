"""Lists the result folders of earlier benchmark runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.result import Result
from bench.result_io import RESULT, read_result
from config.errors import ConfigError

CACHED = 1000  # results


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """A run's result folder. `duration` is in seconds, without the warm-up; 0 if unknown."""

    name: str
    kind: str
    date: str
    complete: bool
    completed: int
    verdict: str
    documents: int = 0
    duration: float = 0.0


def list_results(results: Path) -> list[ResultSummary]:
    """Returns the results, newest first; folders without a readable result are omitted."""
    files = (path for path in results.glob(f"*/{RESULT}") if path.is_file())
    found = [summary for path in files if (summary := _summary(path))]
    return sorted(found, key=lambda summary: summary.date, reverse=True)


def _summary(path: Path) -> ResultSummary | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=CACHED)  # some are megabytes in size, and the list is shown often
def _read(path: Path, _changed: int, _size: int) -> ResultSummary | None:
    try:
        result = read_result(path)
    except ConfigError:
        return None
    if not result.date:
        return None
    return ResultSummary(
        path.parent.name,
        result.kind,
        result.date,
        bool(result.complete),
        int(result.completed or 0),
        VERDICTS.get(result.kind, _compared)(result),
        _documents(result),
        max(0.0, float(result.duration or 0)),
    )


def _compared(result: Result) -> str:
    return result.comparison.verdict


def _by_modality(result: Result) -> str:
    """Returns the verdict of each modality, and which modalities' media were mixed up."""
    found = result.modalities.items()
    verdicts = [f"{name}: {each.comparison.verdict or 'no claim'}" for name, each in found]
    return "; ".join([*verdicts, *(f"{name} was mixed up" for name, each in found if each.canary.failed)])


def _agreement(result: Result) -> str:
    if not result.verify.media:
        return result.verify.verdict
    verdicts = {"text": result.verify.verdict, **{name: each.verdict for name, each in result.verify.media.items()}}
    return "; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items() if verdict)


def _break_even(result: Result) -> str:
    found = result.break_even
    if found.input_len is None:
        return "no break-even" if found.model_fields_set else ""
    holds = found.confirmed and all(each.holds for each in found.confirmed)
    return f"sharing wins from {found.input_len:,.0f} tokens on, {'confirmed' if holds else 'not confirmed'}"


def _under_load(result: Result) -> str:
    failed = sum(cell.failed or 0 for cell in result.cells)
    return f"{len(result.cells)} loads, {failed:.0f} requests do not count" if result.cells else ""


def _attributed(result: Result) -> str:
    shares = [row.attributed_pct for row in result.budgets if row.attributed_pct is not None]
    return f"at least {min(shares):.0f} % of each TTFT attributed" if shares else ""


VERDICTS: Mapping[str, Callable[[Result], str]] = {  # in a few words; empty if a result has none
    "mm": _by_modality,
    "verify": _agreement,
    "storage": _break_even,
    "budget": _attributed,
    "sweep": _under_load,
}


def _documents(result: Result) -> int:
    """Returns the number of documents, or of documents per length if there are several lengths."""
    lengths = result.options.get("input_lens")
    if isinstance(lengths, list) and lengths:
        return len(lengths) // len(set(map(str, lengths)))
    return int(result.num_prompts or 0)
