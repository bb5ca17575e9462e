"""The golden results (tests/golden_runs.py), with the changes that a test needs, and all reports of a result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.report.render import render_reports
from bench.report.terminal import terminal_report
from bench.result import Result

GOLDEN = Path(__file__).with_name("bench") / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
HOSTILE = "<script src='http://evil/x.js'></script> | `$a_b$` _c_ __d__ [x](http://evil) ![y](http://evil) &"


def golden(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns a result as JSON. `changes` are by path: {"comparison.verdict": "slower", "samples.0.valid": False}."""
    result: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    for path, value in (changes or {}).items():
        put(result, path.split("."), value)
    return result


def put(result: Any, path: list[Any], value: Any) -> None:
    *outer, last = [int(step) if str(step).isdigit() else step for step in path]
    for step in outer:
        result = result[step]
    result[last] = value


def a_result(name: str, changes: Mapping[str, Any] | None = None) -> Result:
    return Result.model_validate(golden(name, changes))


def an_interval(middle: float, spread: float = 0.05, n: int = 12) -> dict[str, Any]:
    low, high = sorted((middle * (1 - spread), middle * (1 + spread)))
    return {"median": middle, "ci_low": low, "ci_high": high, "n": n, "confidence_level": 0.95}


def on_a_terminal(result: Result, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(terminal_report(result))
    return capture.get()


def everywhere(result: Result) -> list[str]:
    return [*render_reports(result).values(), on_a_terminal(result)]
