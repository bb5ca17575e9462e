"""What earlier runs of the benchmark left: their folders, as a list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """A folder that a run left."""

    name: str
    kind: str
    date: str
    complete: bool
    completed: int
    verdict: str


def earlier(results: Path) -> list[Result]:
    """Newest first; folders that hold no result are passed over."""
    files = (path for path in results.glob("*/result.json") if path.is_file())
    found = [result for path in files if (result := _result(path))]
    return sorted(found, key=lambda result: result.date, reverse=True)


def _result(path: Path) -> Result | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        verdict = (content.get("comparison") or {}).get("verdict", "")
        return Result(
            path.parent.name,
            str(content["kind"]),
            str(content["date"]),
            bool(content.get("complete")),
            int(content.get("completed", 0)),
            str(verdict),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError):
        return None
