"""Tables of how a result was measured, and of every sample: what a reader needs to reproduce it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from bench.report.labels import reason
from bench.report.number_format import MS, NOTHING, count, digits, duration, yes_no
from bench.report.text_table import Column, ReportTable, number, words
from bench.result import Result, SampleRow
from bench.result_part import ResultPart

SETTINGS: Mapping[str, str] = {
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
IDENTITY: Mapping[Column, Callable[[SampleRow], str]] = {
    number("document"): lambda row: count(row.document),
    words("arm"): lambda row: row.arm or NOTHING,
    words("engine"): lambda row: row.engine or NOTHING,
}


def settings_table(result: Result) -> ReportTable:
    """The settings of the run and the machine that ran it."""
    overheads = {name: arm.median_client_overhead_ms for name, arm in result.arms.items()}
    outside = ", ".join(f"{name} {MS(ms)}" for name, ms in overheads.items() if ms is not None)
    rows = [*_named(SETTINGS, result), *([("median TTFT outside the engine", outside)] if outside else [])]
    return ReportTable("Settings", [words("setting"), words("value")], rows)


def break_even_table(result: Result) -> ReportTable:
    """The numbers behind the break-even."""
    return ReportTable("The break-even", [words("figure"), words("value")], _named(BREAK_EVEN, result.break_even))


def preflight_table(result: Result) -> ReportTable:
    """The facts that the engines report about themselves, one column for each engine."""
    engines = result.preflight.engines
    names = dict.fromkeys(name for facts in engines.values() for name in facts)
    rows = [(name, *(plain_text(facts.get(name)) for facts in engines.values())) for name in names]
    return ReportTable("The engines", [words("fact"), *map(words, engines)], rows)


def invalid_table(result: Result) -> ReportTable:
    """All samples that do not count, with the reason."""
    cells: dict[Column, Callable[[SampleRow], str]] = {
        **IDENTITY,
        number("TTFT"): lambda row: duration(row.ttft_ms),
        words("reason"): reason,
    }
    return ReportTable.of("Samples that do not count", result.not_counted, cells)


def samples_table(result: Result) -> ReportTable:
    """All samples."""
    cells: dict[Column, Callable[[SampleRow], str]] = {
        **IDENTITY,
        number("order"): lambda row: count(row.position),
        number("started, s"): lambda row: _seconds(row.started_s),
        words("counts"): lambda row: yes_no(bool(row.valid)),
        number("TTFT"): lambda row: duration(row.ttft_ms),
        number("ITL"): lambda row: duration(row.mean_itl_ms),
        number("TPOT"): lambda row: duration(row.tpot_ms),
        number("E2EL"): lambda row: duration(row.e2el_ms),
        number("prompt"): lambda row: count(row.prompt_tokens),
        number("cached"): lambda row: count(row.cached_tokens),
        number("engine queue"): lambda row: duration(row.server_queue_ms),
        number("engine TTFT"): lambda row: duration(row.server_ttft_ms),
        number("stored, s"): lambda row: _seconds(row.stored_s),
        words("tokens from"): lambda row: row.source or NOTHING,
        words("answer"): lambda row: row.text or NOTHING,
    }
    return ReportTable.of("Every sample", result.samples, cells)


def plain_text(value: object) -> str:
    """The text of a table cell for any JSON value."""
    if value is None or value in ("", {}, [], ()):
        return NOTHING
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain_text(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _named(names: Mapping[str, str], part: ResultPart) -> Sequence[tuple[str, str]]:
    values = [(label, plain_text(getattr(part, name))) for name, label in names.items()]
    return [(label, value) for label, value in values if value != NOTHING]


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else digits(value)
