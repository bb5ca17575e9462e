"""The main tables for each kind of result, with one row for each arm, length, document or load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.question_results import AccessSpeed, Confirmation, LengthSummary, LoadCellSummary, VerifyDocument
from bench.report.budget_tables import budget_tables
from bench.report.labels import arm_meaning
from bench.report.media_tables import by_modality, hits, mixup_table
from bench.report.number_format import (
    MS,
    NOTHING,
    TimeUnit,
    confidence,
    count,
    digits,
    duration,
    nats,
    percent,
    ratio,
    span_of,
    unit_for,
    yes_no,
)
from bench.report.text_table import Column, ReportTable, number, words
from bench.result import Result
from bench.result_part import ArmSpeedup, ArmSummary, MedianInterval, NoiseFloor, Number

TOO_SMALL = "n too small"
NamedArm = tuple[str, ArmSummary]


def tables(result: Result) -> Sequence[ReportTable]:
    """The main tables of a result, except those without rows."""
    main = [table(result) for table in TABLES.get(result.kind, (_arms,))]
    found = [*main, *budget_tables(result), _volume(result)]
    return [table for table in found if table.rows]


def latencies_table(result: Result) -> ReportTable:
    """All latencies of every arm, with percentiles."""
    rows = [
        (name, metric.upper(), *_distribution(arm, metric))
        for name, arm in result.arms.items()
        for metric in ("ttft", "tpot", "itl", "e2el")
    ]
    columns = [words("arm"), words("latency"), *map(number, ("mean", "std", "median", "p90", "p99"))]
    note = f"A percentile that the samples do not support reads “{TOO_SMALL}”."
    return ReportTable("All latencies", columns, rows, note)


def _arms(result: Result) -> ReportTable:
    """The arms: median TTFT with its interval, the ratio to the arm that they are compared with, and cached tokens."""
    unit = unit_for([arm.median_ttft_ms for arm in result.arms.values()])
    over = result.comparison.over or "cold"
    cells: dict[Column, Callable[[NamedArm], str]] = {
        words("arm"): lambda row: row[0],
        number("median TTFT"): lambda row: unit(row[1].median_ttft_ms),
        number(f"{confidence(result.confidence_level)} interval"): lambda row: _ttft_span(row[1], unit),
        number(f"{over} / this"): lambda row: "1" if row[0] == over else ratio(_speedup(result, row[0]).median),
        number("interval of the ratio", wide=True): lambda row: (
            "" if row[0] == over else span_of(_speedup(result, row[0]))
        ),
        number("cached"): lambda row: percent(_cached_pct(row[1])),
        number("ITL"): lambda row: MS(row[1].median_itl_ms),
        number("n"): lambda row: count(row[1].completed),
        number("failed"): lambda row: count(row[1].failed),
        words("what it is", wide=True): lambda row: arm_meaning(result, row[0]),
    }
    return _strong(ReportTable.of("Time to first token", result.arms.items(), cells), result, result.comparison.of)


def _decode(result: Result) -> ReportTable:
    """Times after the first token."""
    found = result.decode
    cells: dict[Column, Callable[[NamedArm], str]] = {
        words("arm"): lambda row: row[0],
        number("engine's time"): lambda row: MS(found.median_decode_ms.get(row[0])),
        number("cold / this"): lambda row: _decode_ratio(result, row[0]),
        number("median TPOT"): lambda row: MS(row[1].median_tpot_ms),
        number("ITL"): lambda row: MS(row[1].median_itl_ms),
        number("longest gap"): lambda row: MS(found.stall_ms.get(row[0])),
        number("in one burst"): lambda row: count(found.bursts.get(row[0])),
        number("n"): lambda row: count(row[1].completed),
        number("failed"): lambda row: count(row[1].failed),
        words("what it is", wide=True): lambda row: arm_meaning(result, row[0]),
    }
    note = (
        "“Engine's time” is the median per output token on the engine's own clock, which is what is compared. "
        "“In one burst”: answers whose tokens came all but together, late."
    )
    table = ReportTable.of("Time per output token", result.arms.items(), cells, note)
    return _strong(table, result, "first_sight")


def _lengths(result: Result) -> ReportTable:
    """Computing compared with loading, for each prompt length."""
    cells: dict[Column, Callable[[LengthSummary], str]] = {
        number("prompt tokens"): lambda row: count(row.input_len),
        number("computed"): lambda row: _length_unit(row)(row.recompute.median_ttft_ms),
        number("computed, interval", wide=True): lambda row: _ttft_span(row.recompute, _length_unit(row)),
        number("loaded"): lambda row: _length_unit(row)(row.load.median_ttft_ms),
        number("loaded, interval", wide=True): lambda row: _ttft_span(row.load, _length_unit(row)),
        number("computed / loaded"): lambda row: ratio(row.speedup.median),
        number("interval of the ratio"): lambda row: span_of(row.speedup),
        number("n"): lambda row: count(row.speedup.n),
        number("failed"): lambda row: count((row.recompute.failed or 0) + (row.load.failed or 0)),
    }
    return ReportTable.of("By prompt length", result.lengths, cells)


def _confirmed(result: Result) -> ReportTable:
    """The lengths that were measured to confirm the break-even."""
    cells: dict[Column, Callable[[Confirmation], str]] = {
        number("prompt tokens"): lambda row: count(row.input_len),
        words("expected to win"): lambda row: row.expected or NOTHING,
        number("computed / loaded"): lambda row: ratio(row.speedup.median),
        number("interval of the ratio"): lambda row: span_of(row.speedup),
        words("holds"): lambda row: yes_no(row.holds),
    }
    return ReportTable.of("Does the break-even hold?", result.break_even.confirmed, cells)


def _volume(result: Result) -> ReportTable:
    """The speed of the storage alone, with files of one chunk and with one large file."""
    volume, large = result.storage, result.storage.sequential
    speeds = [
        ("read, page cache", "chunks", volume.read_cached),
        ("read, page cache", "sequential", large.get("read_cached", AccessSpeed())),
        ("read, device", "chunks", volume.read_device),
        ("read, device", "sequential", large.get("read_device", AccessSpeed())),
        ("write, device", "chunks", volume.write_device),
        ("write, device", "sequential", large.get("write", AccessSpeed())),
    ]
    cells: dict[Column, Callable[[tuple[str, str, AccessSpeed]], str]] = {
        words("access"): lambda row: row[0],
        words("pattern"): lambda row: row[1],
        number("GB/s"): lambda row: NOTHING if row[2].gb_per_s is None else digits(row[2].gb_per_s),
        words("how"): lambda row: row[2].reason or row[2].method or "",
    }
    note = "; ".join(fact for fact in (volume.tool, volume.filesystem, volume.path, volume.note) if fact)
    return ReportTable.of("The storage by itself", [row for row in speeds if row[2].model_fields_set], cells, note)


def _documents(result: Result) -> ReportTable:
    """Differences of log-probabilities and texts, for each document."""
    cells: dict[Column, Callable[[VerifyDocument], str]] = {
        number("document"): lambda row: count(row.document),
        number("noise, nats"): lambda row: nats(row.noise),
        number("cross-read, nats"): lambda row: nats(row.cross),
        number("over tokens"): lambda row: count(row.tokens),
        words("same text"): lambda row: yes_no(row.same_text),
        words("texts part"): _divergence,
        words("needle found, plain / cross-read"): lambda row: (
            f"{yes_no(row.needle.plain)} / {yes_no(row.needle.cross)}" if row.needle else NOTHING
        ),
    }
    return ReportTable.of("By document", result.verify.documents, cells)


def _loads(result: Result) -> ReportTable:
    """One row for each arm at each prompt length and load."""
    unit = unit_for([cell.median_ttft_ms for cell in result.cells])
    cells: dict[Column, Callable[[LoadCellSummary], str]] = {
        number("prompt tokens"): lambda cell: count(cell.input_len),
        words("load"): _load,
        words("arm"): lambda cell: cell.arm or NOTHING,
        number("median TTFT"): lambda cell: unit(cell.median_ttft_ms),
        number("p99 TTFT", wide=True): lambda cell: _percentile(cell, cell.p99_ttft_ms, unit),
        number("ITL"): lambda cell: MS(cell.median_itl_ms),
        number("client queue", wide=True): lambda cell: duration(cell.mean_client_queue_time_ms),
        number("goodput, 1/s"): lambda cell: ratio(cell.request_goodput),
        number("computed again"): lambda cell: count(cell.recomputed),
        number("n"): lambda cell: count(cell.completed),
        number("failed"): lambda cell: count(cell.failed),
    }
    note = "“Computed again”: cross-reads whose document had to be computed after all. They count."
    return ReportTable.of("By load", result.cells, cells, note)


def _clients(result: Result) -> ReportTable:
    """The CPU time of each client, and the ratios of their TTFT."""
    found = result.peer
    rows = [(f"CPU per request, {name}", MS(ms)) for name, ms in found.cpu_ms_per_request.items()]
    for of, value in (("all", found.median_ttft_ratio), ("the fastest half", found.fastest_half_ttft_ratio)):
        rows.append((f"median TTFT, arena / vllm_bench_serve, {of}", ratio(value)))
    return ReportTable("The clients", [words("figure"), number("value")], rows)


TABLES: Mapping[str, Sequence[Callable[[Result], ReportTable]]] = {
    "decode": (_decode, _arms),
    "storage": (_lengths, _confirmed),
    "budget": (),
    "mm": (by_modality, hits),
    "verify": (_documents, mixup_table),
    "sweep": (_loads,),
    "peer": (_arms, _clients),
}


def _strong(table: ReportTable, result: Result, arm: str) -> ReportTable:
    return replace(table, strong=list(result.arms).index(arm)) if arm in result.arms else table


def _ttft_span(arm: ArmSummary, unit: TimeUnit) -> str:
    return unit.span(arm.ttft_ci_low_ms, arm.ttft_ci_high_ms)


def _length_unit(row: LengthSummary) -> TimeUnit:
    return unit_for([row.recompute.median_ttft_ms, row.load.median_ttft_ms])


def _speedup(result: Result, arm: str) -> MedianInterval:
    """An arm's speed-up by TTFT, although `bench decode` compares another metric."""
    if arm == result.comparison.of and result.comparison.metric == "ttft_ms":
        return result.comparison.speedup
    return result.ladder.get(arm, ArmSpeedup()).speedup


def _decode_ratio(result: Result, arm: str) -> str:
    """The ratio of the claim or, for the arm that measures the noise, the noise ratio."""
    comparison, floor = result.comparison, result.comparison.noise_floor or NoiseFloor()
    if arm == comparison.over:
        return "1"
    return ratio({floor.of: floor.median, comparison.of: comparison.speedup.median}.get(arm))


def _cached_pct(arm: ArmSummary) -> float | None:
    total, cached = arm.total_input_tokens, arm.total_cached_tokens
    return 100 * cached / total if total and cached is not None else None


def _distribution(arm: ArmSummary, metric: str) -> tuple[str, ...]:
    mean, std, median, p90, p99 = (
        getattr(arm, f"{name}_{metric}_ms") for name in ("mean", "std", "median", "p90", "p99")
    )
    unit = unit_for([mean, median, p99])
    return unit(mean), unit(std), unit(median), _percentile(arm, p90, unit), _percentile(arm, p99, unit)


def _percentile(arm: ArmSummary, ms: Number, unit: TimeUnit) -> str:
    return TOO_SMALL if ms is None and arm.completed else unit(ms)


def _divergence(row: VerifyDocument) -> str:
    found = row.divergence
    if not found:
        return NOTHING
    gap = "" if found.gap is None else f" ({nats(found.gap)} nats apart)"
    return f"token {count(found.token)}, {'a near-tie' if found.near_tie else 'not a near-tie'}{gap}"


def _load(cell: LoadCellSummary) -> str:
    at_once = [] if cell.max_concurrency is None else [f"{cell.max_concurrency} at once"]
    rate = [] if cell.request_rate in (None, "inf") else [f"{cell.request_rate} requests/s"]
    return ", ".join(at_once + rate) or "all at once"
