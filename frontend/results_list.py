"""What earlier runs of the benchmark left: their folders, as a list."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

KEPT = 1000  # results that were read


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """A folder that a run left. `duration` in seconds of measuring, without the warm-up; 0 where it is not told."""

    name: str
    kind: str
    date: str
    complete: bool
    completed: int
    verdict: str
    documents: int = 0
    duration: float = 0.0


def list_results(results: Path) -> list[ResultSummary]:
    """Newest first; folders that hold no result are passed over."""
    files = (path for path in results.glob("*/result.json") if path.is_file())
    found = [result for path in files if (result := _result(path))]
    return sorted(found, key=lambda result: result.date, reverse=True)


def _result(path: Path) -> ResultSummary | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=KEPT)  # some have megabytes, and the list is looked at again and again
def _read(path: Path, _changed: int, _size: int) -> ResultSummary | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return ResultSummary(
            path.parent.name,
            str(content["kind"]),
            str(content["date"]),
            bool(content.get("complete")),
            int(content.get("completed", 0)),
            verdict_of(content),
            _documents(content),
            _seconds(content.get("duration")),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError, OverflowError):
        return None


def verdict_of(content: Mapping[str, Any]) -> str:
    """A few words; empty for a kind that is not known, or a result that says nothing of the kind."""
    return VERDICTS.get(str(content.get("kind")), _compared)(content)


def _compared(content: Mapping[str, Any]) -> str:
    return str(_fields(content, "comparison").get("verdict") or "")


def _by_modality(content: Mapping[str, Any]) -> str:
    """Each modality's, and those whose media were taken for others."""
    media = {name: _fields(_fields(content, "modalities"), name) for name in _fields(content, "modalities")}
    said = [f"{name}: {_compared(each) or 'no claim'}" for name, each in media.items()]
    mixed = [name for name, each in media.items() if _fields(each, "canary").get("failed")]
    return "; ".join([*said, *(f"{name} was mixed up" for name in mixed)])


def _agreement(content: Mapping[str, Any]) -> str:
    found = _fields(content, "verify")
    judged = {"text": found, **_fields(found, "media")}
    said = {name: str(each.get("verdict") or "") for name, each in judged.items() if isinstance(each, Mapping)}
    if len(said) == 1:
        return said["text"]
    return "; ".join(f"{name}: {words}" for name, words in said.items() if words)


def _break_even(content: Mapping[str, Any]) -> str:
    found = _fields(content, "break_even")
    tokens, confirmed = found.get("input_len"), found.get("confirmed")
    if not isinstance(tokens, int | float):
        return "no break-even" if found else ""
    each_way = confirmed if isinstance(confirmed, list) else ()
    holds = [isinstance(each, Mapping) and each.get("holds") for each in each_way]
    sure = "confirmed" if holds and all(holds) else "not confirmed"
    return f"sharing wins from {tokens:,.0f} tokens on, {sure}"


def _under_load(content: Mapping[str, Any]) -> str:
    cells = content.get("cells")
    cells = [cell for cell in cells if isinstance(cell, Mapping)] if isinstance(cells, list) else []
    failed = sum(int(cell.get("failed") or 0) for cell in cells)
    return f"{len(cells)} loads, {failed} requests do not count" if cells else ""


VERDICTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "mm": _by_modality,
    "verify": _agreement,
    "storage": _break_even,
    "sweep": _under_load,
}


def _fields(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _documents(content: Mapping[str, Any]) -> int:
    """Of each length, where there are several."""
    lengths = _fields(content, "options").get("input_lens")
    if isinstance(lengths, list) and lengths:
        return len(lengths) // len(set(lengths))
    return int(content.get("num_prompts") or 0)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return max(0.0, float(value))
