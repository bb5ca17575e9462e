"""Where the time to first token goes: one table for each prompt length, the physical limit, and sentences on both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.question_results import PhysicalLimit, TimeBudget
from bench.report.number_format import NOTHING, count, digits, duration, percent, ratio
from bench.report.text_table import Column, ReportTable, number, words
from bench.result import Result
from bench.result_part import Number

PARTS: Mapping[str, tuple[str, str]] = {  # name in the result to its name in reports, and what it is measured with
    "http": (
        "HTTP, first chunk out",
        "this client's clock minus vLLM's TTFT: the request's way in, the first chunk's out",
    ),
    "rendering": ("rendering", "vLLM's TTFT minus queue and prefill: chat template, tokenising, hand-over"),
    "outside": ("HTTP and rendering", "this client's clock minus vLLM's queue and prefill"),
    "queue": ("queue", "vLLM's queue time, without lookup, load and copy"),
    "lookup": ("lookup", "the connector's lookup time, without the load"),
    "loading": ("lookup, read, decrypt", "the connector's lookup time"),
    "read": ("read from the volume", "the same files, read once more (without decryption: LMCache's load time)"),
    "decryption": ("decryption", "the rest of LMCache's load time; without page cache, as many bytes once more"),
    "copy": ("copy into the engine", "vLLM's queue time after the lookup"),
    "prefill": ("prefill", "vLLM's time from queue to first token; after a hit, of the tail"),
}
ROOMY = 4  # arms that fit a terminal beside the names of the parts
LESS_TELLING = ("other_instance", "lmcache_own_warm")  # arms that are left out where there is no room
SMALLEST_MS = 0.001  # of an overlap that the table shows; less is rounding of floats
TELLING_PCT = 1.0  # of a TTFT: an overlap of more is among the reasons too
NOT_MEASURED = "not measured"
ENOUGH_PCT = 90.0


def budget_tables(result: Result) -> Sequence[ReportTable]:
    """One table for each prompt length, then the physical limit; empty without budgets."""
    lengths = sorted({row.input_len for row in result.budgets if row.input_len is not None})
    several = len(lengths) > 1 or result.kind == "budget"
    found = []
    for length in lengths:
        title = f"Where the time goes, {count(length)} tokens" if several else "Where the time goes"
        found.append(_parts(title, [row for row in result.budgets if row.input_len == length]))
    return [*found, _limits(result)]


def budget_headline(result: Result) -> str:
    """The largest parts of the longest cross-read, or why there are none."""
    reads = [row for row in result.budgets if row.arm == "cross_read" and row.mean_ttft_ms and row.input_len]
    if not reads:
        return "No claim: no cross-read counts, or its times are not reported."
    longest = max(reads, key=lambda row: row.input_len or 0)
    ttft = longest.mean_ttft_ms or 1
    known = sorted(((ms, name) for name, ms in longest.parts_ms.items() if ms), reverse=True)[:3]
    shares = ", ".join(f"{_name(name)} {percent(100 * ms / ttft)}" for ms, name in known)
    return (
        f"A cross-read of {count(longest.input_len)} tokens starts after {duration(ttft)}: {shares or 'no part known'}."
    )


def budget_reasons(result: Result) -> Sequence[str]:
    """What is not attributed, and which overlaps are more than rounding of the servers' clocks."""
    if result.kind != "budget":
        return []
    found, rows = [], [row for row in result.budgets if row.attributed_pct is not None]
    short = [row for row in rows if (row.attributed_pct or 0) < ENOUGH_PCT]
    if short:
        found.append(
            f"less than {ENOUGH_PCT:.0f} % is attributed: {_listed(short, lambda row: percent(row.attributed_pct))}"
        )
    elif rows:
        least = min(row.attributed_pct or 0 for row in rows)
        found.append(f"at least {percent(least)} of every mean TTFT is attributed")
    if twice := [row for row in rows if 100 * (row.overlap_ms or 0) > TELLING_PCT * (row.mean_ttft_ms or 0)]:
        found.append(
            f"measured times overlap and are counted twice: {_listed(twice, lambda row: duration(row.overlap_ms))}"
        )
    return found


def _parts(title: str, rows: Sequence[TimeBudget]) -> ReportTable:
    """One row for each part, one column for each arm."""
    names = [name for name in PARTS if any(name in row.parts_ms for row in rows)]
    lines = [[_name(name), *(_ms(row.parts_ms.get(name)) for row in rows), PARTS[name][1]] for name in names]
    lines.append(["not attributed", *(_ms(row.not_attributed_ms) for row in rows), "the rest of the TTFT"])
    if any((row.overlap_ms or 0) >= SMALLEST_MS for row in rows):
        lines.append(["counted twice", *(_ms(row.overlap_ms) for row in rows), "parts beyond the TTFT: times overlap"])
    lines.append(["TTFT", *(_ms(row.mean_ttft_ms) for row in rows), "this client's clock"])
    lines.append(["attributed", *(percent(row.attributed_pct) for row in rows), ""])
    crowded = len(rows) > ROOMY
    arms = [number(_arm(row.arm), wide=crowded and row.arm in LESS_TELLING) for row in rows]
    note = "Means in milliseconds, because means add up and medians do not."
    return ReportTable(title, [words("part, ms"), *arms, words("measured by", wide=True)], lines, note)


def _limits(result: Result) -> ReportTable:
    cells: dict[Column, Callable[[PhysicalLimit], str]] = {
        number("prompt tokens"): lambda row: count(row.input_len),
        number("KV, MB", wide=True): lambda row: NOTHING if row.kv_bytes is None else digits(row.kv_bytes / 1e6),
        number("read, page cache"): lambda row: _measured(row.read_cached_ms),
        number("read, device"): lambda row: _measured(row.read_device_ms),
        number("decryption alone", wide=True): lambda row: _measured(row.decryption_ms),
        number("tail tokens", wide=True): lambda row: count(row.tail_tokens),
        number("tail"): lambda row: _measured(row.tail_ms),
        number("limit"): lambda row: _measured(_limit(row)),
        number("cross read"): lambda row: duration(row.mean_ttft_ms),
        number("cross read / limit"): lambda row: _over_limit(row),
    }
    note = (
        "The limit reads the KV's bytes at the volume's own speed (from the page cache, or else from the device) and "
        "computes the tail as fast as a cold prompt of this length. It does not decrypt."
    )
    return ReportTable.of("The physical limit of a cross-read", result.limits, cells, note)


def _limit(row: PhysicalLimit) -> float | None:
    read = row.read_device_ms if row.read_cached_ms is None else row.read_cached_ms
    return None if read is None or row.tail_ms is None else read + row.tail_ms


def _over_limit(row: PhysicalLimit) -> str:
    limit = _limit(row)
    return ratio(row.mean_ttft_ms / limit if limit and row.mean_ttft_ms is not None else None)


def _arm(name: str) -> str:
    """An arm's name as a head of a column, which breaks at spaces."""
    return name.replace("_", " ") or NOTHING


def _name(part: str) -> str:
    return PARTS[part][0] if part in PARTS else part


def _ms(value: Number) -> str:
    return NOTHING if value is None else digits(value)


def _measured(ms: float | None) -> str:
    return NOT_MEASURED if ms is None else duration(ms)


def _listed(rows: Sequence[TimeBudget], text: Callable[[TimeBudget], str]) -> str:
    return "; ".join(f"{row.arm}, {count(row.input_len)} tokens: {text(row)}" for row in rows)
