"""How a result was measured, and every row of it: what a reader needs to measure it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.labels import reason
from bench.report.number_format import MS, NOTHING, count, digits, unit_for
from bench.report.result_fields import Fields, arms, fields, not_counted, number, rows
from bench.report.text_table import ReportTable, number_column, text_column

NAMES: Mapping[str, str] = {
    "date": "date",
    "run_id": "run",
    "label": "label",
    "metadata": "metadata",
    "command": "command",
    "model_id": "model",
    "tokenizer_id": "tokenizer",
    "num_prompts": "documents",
    "input_len": "prompt tokens",
    "output_len": "output tokens",
    "seed": "seed",
    "num_warmups": "warm-ups",
    "max_concurrency": "at once",
    "request_rate": "request rate",
    "duration": "duration, s",
    "backend": "protocol",
    "versions": "versions",
    "host": "host",
    "stack": "stack",
}
BREAK_EVEN: Mapping[str, str] = {
    "recompute_fit": "computing, ms: constant, per token, per token²",
    "load_fit": "loading, ms: constant, per token",
    "bytes_per_token": "KV bytes per token",
    "effective_gb_per_s": "loading as a whole, GB/s",
    "share_of_device_pct": "of the device's speed, %",
    "share_of_page_cache_pct": "of the page cache's speed, %",
}


def settings_table(result: Fields) -> ReportTable:
    """What was run, on what."""
    return ReportTable("Settings", text_column("setting", "value"), [*_named(NAMES, result), *_outside(result)])


def break_even(result: Fields) -> ReportTable:
    """What the break-even was calculated from."""
    return ReportTable(
        "The break-even", text_column("figure", "value"), _named(BREAK_EVEN, fields(result, "break_even"))
    )


def preflight_table(result: Fields) -> ReportTable:
    """What each engine said of itself, engines side by side."""
    engines = fields(result, "preflight", "engines")
    names = dict.fromkeys(name for engine in engines for name in fields(engines, engine))
    values = [(name, *(plain_text(fields(engines, engine).get(name)) for engine in engines)) for name in names]
    return ReportTable("The engines", text_column("fact", *engines), values)


def invalid(result: Fields) -> ReportTable:
    """Every sample that does not count, and why."""
    return ReportTable(
        "Samples that do not count",
        [*number_column("document"), *text_column("arm", "engine"), *number_column("TTFT"), *text_column("reason")],
        [(*_identity(row), _time(row, "ttft_ms"), reason(row)) for row in not_counted(result)],
    )


def samples_table(result: Fields) -> ReportTable:
    """Every sample."""
    return ReportTable(
        "Every sample",
        [
            *number_column("document"),
            *text_column("arm", "engine"),
            *number_column("order", "started, s"),
            *text_column("counts"),
            *number_column(
                "TTFT", "ITL", "TPOT", "E2EL", "prompt", "cached", "engine queue", "engine TTFT", "stored, s"
            ),
            *text_column("tokens from", "answer"),
        ],
        [_sample(row) for row in rows(result, "samples")],
    )


def plain_text(value: object) -> str:
    """Any value of JSON in a cell."""
    if value is None or value in ("", {}, []):
        return NOTHING
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain_text(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _named(names: Mapping[str, str], source: Fields) -> Sequence[tuple[str, str]]:
    found = [(said, plain_text(source.get(name))) for name, said in names.items()]
    return [(said, value) for said, value in found if value != NOTHING]


def _outside(result: Fields) -> Sequence[tuple[str, str]]:
    times = [(name, number(arm, "median_client_overhead_ms")) for name, arm in arms(result)]
    said = ", ".join(f"{name} {MS(ms)}" for name, ms in times if ms is not None)
    return [("median TTFT outside the engine", said)] if said else []


def _identity(row: Fields) -> tuple[str, ...]:
    return tuple(plain_text(row.get(name)) for name in ("document", "arm", "engine"))


def _sample(row: Fields) -> tuple[str, ...]:
    return (
        *_identity(row),
        count(number(row, "position")),
        _seconds(row, "started_s"),
        "yes" if row.get("valid") else "no",
        *(_time(row, name) for name in ("ttft_ms", "mean_itl_ms", "tpot_ms", "e2el_ms")),
        count(number(row, "prompt_tokens")),
        count(number(row, "cached_tokens")),
        _time(row, "server_queue_ms"),
        _time(row, "server_ttft_ms"),
        _seconds(row, "stored_s"),
        plain_text(row.get("source")),
        plain_text(row.get("text")),
    )


def _time(row: Fields, name: str) -> str:
    value = number(row, name)
    return unit_for([value])(value)


def _seconds(row: Fields, name: str) -> str:
    value: Any = number(row, name)
    return NOTHING if value is None else digits(value)
