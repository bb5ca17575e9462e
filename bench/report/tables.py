"""The tables that answer a kind's question, one row for an arm, a length, a document or a load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.report.labels import arm_meaning
from bench.report.media_tables import by_modality, hits, mixup_table
from bench.report.number_format import (
    MS,
    NOTHING,
    TimeUnit,
    confidence,
    count,
    digits,
    percent,
    ratio,
    ratio_span,
    unit_for,
)
from bench.report.result_fields import Fields, arms, fields, number, rows
from bench.report.text_table import Column, ReportTable, number_column, text_column

TOO_SMALL = "n too small"
ACCESSES: Mapping[str, Mapping[str, str]] = {  # pattern to the name of its figures
    "read, page cache": {"chunks": "read_cached", "sequential": "read_cached"},
    "read, device": {"chunks": "read_device", "sequential": "read_device"},
    "write, device": {"chunks": "write_device", "sequential": "write"},
}


def tables(result: Fields) -> Sequence[ReportTable]:
    """The main tables of a result; those without a row are left out."""
    grids = [table(result) for table in TABLES.get(str(result.get("kind")), (arms_table,))]
    return [grid for grid in grids if grid.rows]


def arms_table(result: Fields) -> ReportTable:
    """The arms: median TTFT with its interval, the ratio to the arm they are held against, what was cached."""
    found = list(arms(result))
    unit = unit_for([number(arm, "median_ttft_ms") for _, arm in found])
    comparison = fields(result, "comparison")
    over, of = str(comparison.get("over") or "cold"), comparison.get("of")
    interval = f"{confidence(result)} interval"
    return ReportTable(
        "Time to first token",
        [
            *text_column("arm"),
            *number_column("median TTFT", interval, f"{over} / this"),
            Column("interval of the ratio", wide=True),
            *number_column("cached", "ITL", "n", "failed"),
            Column("what it is", text=True, wide=True),
        ],
        [
            (name, *_ttft(arm, unit), *_against(result, name, over), *_rest(arm), arm_meaning(result, name))
            for name, arm in found
        ],
        strong=next((index for index, (name, _) in enumerate(found) if name == of), None),
    )


def decoding(result: Fields) -> ReportTable:
    """What comes after the first token."""
    found, seen = list(arms(result)), fields(result, "decode")
    return ReportTable(
        "Time per output token",
        [
            *text_column("arm"),
            *number_column(
                "engine's time", "cold / this", "median TPOT", "ITL", "longest gap", "in one burst", "n", "failed"
            ),
            Column("what it is", text=True, wide=True),
        ],
        [
            (
                name,
                MS(number(fields(seen, "median_decode_ms"), name)),
                _decoding(result, name),
                MS(number(arm, "median_tpot_ms")),
                MS(number(arm, "median_itl_ms")),
                MS(number(fields(seen, "stall_ms"), name)),
                count(number(fields(seen, "bursts"), name)),
                *_n(arm),
                arm_meaning(result, name),
            )
            for name, arm in found
        ],
        note="“Engine's time” is the median per output token on the engine's own clock, which is what is compared. "
        "“In one burst”: answers whose tokens came all but together, late.",
        strong=next((index for index, (name, _) in enumerate(found) if name == "first_sight"), None),
    )


def distributions(result: Fields) -> ReportTable:
    """Every latency of every arm, with its percentiles."""
    return ReportTable(
        "All latencies",
        [*text_column("arm", "latency"), *number_column("mean", "std", "median", "p90", "p99")],
        [
            (name, metric.upper(), *_distribution(arm, metric))
            for name, arm in arms(result)
            for metric in ("ttft", "tpot", "itl", "e2el")
        ],
        note=f"A percentile that the samples do not support reads “{TOO_SMALL}”.",
    )


def lengths(result: Fields) -> ReportTable:
    """Computing again against loading, for each prompt length."""
    return ReportTable(
        "By prompt length",
        [
            *number_column("prompt tokens", "computed"),
            Column("computed, interval", wide=True),
            *number_column("loaded"),
            Column("loaded, interval", wide=True),
            *number_column("computed / loaded", "interval of the ratio", "n", "failed"),
        ],
        [_length(row) for row in rows(result, "lengths")],
    )


def confirmed(result: Fields) -> ReportTable:
    """Lengths that were measured to see whether the break-even holds."""
    return ReportTable(
        "Does the break-even hold?",
        [
            *number_column("prompt tokens"),
            *text_column("expected to win"),
            *number_column("computed / loaded", "interval of the ratio"),
            *text_column("holds"),
        ],
        [
            (
                count(number(row, "input_len")),
                str(row.get("expected") or NOTHING),
                *_ratio_cells(fields(row, "speedup")),
                yes_no(row.get("holds")),
            )
            for row in rows(fields(result, "break_even"), "confirmed")
        ],
    )


def devices(result: Fields) -> ReportTable:
    """What the storage gives by itself, in files of one chunk and in one run through a large one."""
    storage = fields(result, "storage")
    patterns = {"chunks": storage, "sequential": fields(storage, "sequential")}
    facts = [str(storage[name]) for name in ("tool", "filesystem", "path", "note") if storage.get(name)]
    return ReportTable(
        "The storage by itself",
        [*text_column("access", "pattern"), *number_column("GB/s"), *text_column("how")],
        [
            (access, pattern, *_device(fields(speeds, names[pattern])))
            for access, names in ACCESSES.items()
            for pattern, speeds in patterns.items()
            if fields(speeds, names[pattern])
        ],
        note="; ".join(facts),
    )


def compared_documents(result: Fields) -> ReportTable:
    """Log-probabilities and the texts, for each document."""
    return ReportTable(
        "By document",
        [
            *number_column("document", "noise, nats", "cross-read, nats", "over tokens"),
            *text_column("same text", "texts part", "needle found, plain / cross-read"),
        ],
        [
            (
                count(number(row, "document")),
                _nats(row, "noise"),
                _nats(row, "cross"),
                count(number(row, "tokens")),
                yes_no(row.get("same_text")),
                _divergence(fields(row, "divergence")),
                _needle(fields(row, "needle")),
            )
            for row in rows(fields(result, "verify"), "documents")
        ],
    )


def cells(result: Fields) -> ReportTable:
    """One row for each load."""
    found = rows(result, "cells")
    unit = unit_for([number(cell, "median_ttft_ms") for cell in found])
    return ReportTable(
        "By load",
        [
            *number_column("prompt tokens"),
            *text_column("load", "arm"),
            *number_column("median TTFT"),
            Column("p99 TTFT", wide=True),
            *number_column("ITL"),
            Column("client queue", wide=True),
            *number_column("goodput, 1/s", "computed again", "n", "failed"),
        ],
        [
            (
                count(number(cell, "input_len")),
                _load(cell),
                str(cell.get("arm") or NOTHING),
                unit(number(cell, "median_ttft_ms")),
                _percentile(cell, "p99_ttft_ms", unit),
                MS(number(cell, "median_itl_ms")),
                unit_for([number(cell, "mean_client_queue_time_ms")])(number(cell, "mean_client_queue_time_ms")),
                ratio(number(cell, "request_goodput")),
                count(number(cell, "recomputed")),
                *_n(cell),
            )
            for cell in found
        ],
        note="“Computed again”: cross-reads whose document had to be computed after all. They count.",
    )


def clients(result: Fields) -> ReportTable:
    """What measuring costs each client, and how their times stand to each other."""
    found = fields(result, "peer")
    spent = fields(found, "cpu_ms_per_request")
    ratios = (("all", "median_ttft_ratio"), ("the fastest half", "fastest_half_ttft_ratio"))
    return ReportTable(
        "The clients",
        [*text_column("figure"), *number_column("value")],
        [(f"CPU per request, {name}", MS(number(spent, name))) for name in spent]
        + [(f"median TTFT, arena / vllm_bench_serve, {said}", ratio(number(found, name))) for said, name in ratios],
    )


def yes_no(value: object) -> str:
    """A dash when it was not looked at."""
    return NOTHING if value is None else "yes" if value else "no"


TABLES: Mapping[str, Sequence[Callable[[Fields], ReportTable]]] = {
    "decode": (decoding, arms_table),
    "storage": (lengths, confirmed, devices),
    "mm": (by_modality, hits),
    "verify": (compared_documents, mixup_table),
    "sweep": (cells,),
    "peer": (arms_table, clients),
}


def _ttft(arm: Fields, unit: TimeUnit) -> tuple[str, str]:
    interval = unit.span(number(arm, "ttft_ci_low_ms"), number(arm, "ttft_ci_high_ms"))
    return unit(number(arm, "median_ttft_ms")), interval


def _against(result: Fields, arm: str, over: str) -> tuple[str, str]:
    if arm == over:
        return "1", ""
    comparison = fields(result, "comparison")
    by_ttft = arm == comparison.get("of") and comparison.get("metric", "ttft_ms") == "ttft_ms"
    return _ratio_cells(fields(comparison, "speedup") if by_ttft else fields(result, "ladder", arm, "speedup"))


def _decoding(result: Fields, arm: str) -> str:
    """The ratio of the claim; of the arm that stands for noise, that."""
    comparison = fields(result, "comparison")
    if arm == comparison.get("over"):
        return "1"
    named = {
        str(comparison.get("of")): "speedup",
        str(fields(comparison, "noise_floor").get("of")): "noise_floor",
    }
    return ratio(number(fields(comparison, named.get(arm, "")), "median"))


def _ratio_cells(speedup: Fields) -> tuple[str, str]:
    span = ratio_span(number(speedup, "ci_low"), number(speedup, "ci_high"))
    return ratio(number(speedup, "median")), span


def _rest(arm: Fields) -> tuple[str, ...]:
    return percent(_cached(arm)), MS(number(arm, "median_itl_ms")), *_n(arm)


def _n(arm: Fields) -> tuple[str, str]:
    return count(number(arm, "completed")), count(number(arm, "failed"))


def _cached(arm: Fields) -> float | None:
    total, cached = number(arm, "total_input_tokens"), number(arm, "total_cached_tokens")
    return 100 * cached / total if total and cached is not None else None


def _distribution(arm: Fields, metric: str) -> tuple[str, ...]:
    unit = unit_for([number(arm, f"{name}_{metric}_ms") for name in ("mean", "median", "p99")])
    measured = tuple(unit(number(arm, f"{name}_{metric}_ms")) for name in ("mean", "std", "median"))
    return *measured, *(_percentile(arm, f"{name}_{metric}_ms", unit) for name in ("p90", "p99"))


def _percentile(arm: Fields, name: str, unit: TimeUnit) -> str:
    if number(arm, name) is None and number(arm, "completed"):
        return TOO_SMALL
    return unit(number(arm, name))


def _length(row: Fields) -> tuple[str, ...]:
    computed, loaded = fields(row, "recompute"), fields(row, "load")
    unit = unit_for([number(computed, "median_ttft_ms"), number(loaded, "median_ttft_ms")])
    failed = [number(arm, "failed") or 0 for arm in (computed, loaded)]
    return (
        count(number(row, "input_len")),
        *_ttft(computed, unit),
        *_ttft(loaded, unit),
        *_ratio_cells(fields(row, "speedup")),
        count(number(fields(row, "speedup"), "n")),
        count(sum(failed)),
    )


def _device(probe: Fields) -> tuple[str, str]:
    speed = number(probe, "gb_per_s")
    return NOTHING if speed is None else digits(speed), str(probe.get("reason") or probe.get("method") or "")


def _nats(row: Fields, name: str) -> str:
    value = number(row, name)
    return f"{value:.3f}" if value is not None else "∞" if row.get(name) == "infinite" else NOTHING


def _divergence(found: Fields) -> str:
    if not found:
        return NOTHING
    size = "" if number(found, "gap") is None else f" ({_nats(found, 'gap')} nats apart)"
    return f"token {count(number(found, 'token'))}, {'a near-tie' if found.get('near_tie') else 'not a near-tie'}{size}"


def _needle(found: Fields) -> str:
    if not found:
        return NOTHING
    return f"{yes_no(found.get('plain'))} / {yes_no(found.get('cross'))}"


def _load(cell: Fields) -> str:
    concurrency, rate = cell.get("max_concurrency"), cell.get("request_rate")
    said: list[Any] = [] if concurrency is None else [f"{concurrency} at once"]
    return ", ".join(said + ([] if rate in (None, "inf") else [f"{rate} requests/s"])) or "all at once"
