"""Splits a sample's TTFT into parts that were measured; docs/metrics.md says where each one comes from.

A part is a time that was measured, or the difference of two times that were. What lies between measured times and is
none of the parts is *not attributed*. If measured times overlap, a difference is negative: the part is then zero, and
what it lacks is the *overlap*, so that always parts + not attributed - overlap = TTFT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.arms import Arm
from bench.sample import Sample

# In the order of a request. `outside` stands for `http` and `rendering` if they cannot be told apart, and `loading` for
# `lookup`, `read` and `decryption`.
PARTS = ("http", "rendering", "outside", "queue", "lookup", "loading", "read", "decryption", "copy", "prefill")
NOT_ATTRIBUTED = "not attributed"


@dataclass(frozen=True, slots=True)
class TtftSplit:
    """One TTFT in milliseconds by part. Nothing is negative, and parts that do not apply are missing."""

    ttft: float
    parts: Mapping[str, float]
    not_attributed: float
    overlap: float


def split_ttft(sample: Sample) -> TtftSplit | None:
    """The parts of a sample's TTFT; None if it has no TTFT."""
    if sample.ttft_ms is None:
        return None
    raw = _outside(sample)
    if sample.server_queue_ms is not None and sample.server_ttft_ms is not None:
        raw |= _inside(sample, sample.server_queue_ms, sample.server_ttft_ms)
    unknown = sample.ttft_ms - sum(raw.values())
    overlap = sum(-ms for ms in (*raw.values(), unknown) if ms < 0)
    parts = {name: max(0.0, raw[name]) for name in PARTS if name in raw}
    return TtftSplit(sample.ttft_ms, parts, max(0.0, unknown), overlap)


def budgets(samples: Sequence[Sample], arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """A TimeBudget as JSON for each length and arm, over the samples that count; none where no part is known.

    Means are used because they add up: the parts of a median are those of another document for each part.
    """
    found = []
    for input_len in sorted({sample.input_len for sample in samples}):
        for name in (arm.name for arm in arms):
            here = [s for s in samples if (s.arm, s.input_len) == (name, input_len) and s.valid]
            splits = [split for sample in here if (split := split_ttft(sample))]
            if any(split.parts for split in splits):
                found.append({"arm": name, "input_len": input_len, **_mean(splits)})
    return found


def _outside(sample: Sample) -> dict[str, float]:
    """What is not the engine core's: `rendering` is the API server's time, `http` what the client sees beyond that."""
    total, queue, prefill = sample.server_total_ttft_ms, sample.server_queue_ms, sample.server_ttft_ms
    assert sample.ttft_ms is not None
    found = {} if total is None else {"http": sample.ttft_ms - total}
    if queue is None or prefill is None:
        return found
    if total is None:
        return {"outside": sample.ttft_ms - queue - prefill}
    return {**found, "rendering": total - queue - prefill}


def _inside(sample: Sample, queue: float, prefill: float) -> dict[str, float]:
    """The engine core's queue time and prefill. While a connector loads, a request is still in the queue."""
    lookup, loaded = sample.lookup_ms, (sample.cached_tokens_details or {}).get("shared", 0)
    if not loaded:
        found = {} if lookup is None else {"loading" if sample.volume_gb_per_s else "lookup": lookup}
        return {**found, "queue": queue - (lookup or 0), "prefill": prefill}
    if lookup is None:  # a connector inside the engine's process may load in the queue or in the prefill
        return {}
    rest, copy = queue - lookup, _ms(sample.loaded_bytes, sample.copy_gb_per_s)
    copying = {"copy": rest} if copy is None else {"copy": copy, "queue": rest - copy}
    return {**_loading(sample, lookup), **copying, "prefill": prefill}


def _loading(sample: Sample, lookup: float) -> dict[str, float]:
    """The time in which the cache server looked up, read and decrypted, as far as these can be told apart.

    A second read of files that were in the page cache takes as long as the first, and decryption is what it leaves of
    the load. Of other files, the first read is not known: then decryption is what it takes on its own.
    """
    load, read, alone = (
        _ms(sample.loaded_bytes, sample.volume_gb_per_s),
        sample.read_beside_ms,
        sample.decryption_beside_ms,
    )
    if load is None or read is None or alone is None:
        return {"loading": lookup}
    if not alone:
        return {"lookup": lookup - load, "read": load}
    decryption = load - read if sample.in_page_cache else alone
    return {"lookup": lookup - load, "read": read, "decryption": decryption}


def _ms(size: int | None, gb_per_s: float | None) -> float | None:
    return size / gb_per_s / 1e6 if size and gb_per_s else None


def _mean(splits: Sequence[TtftSplit]) -> dict[str, Any]:
    ttft, unknown, overlap = (
        fmean(values) for values in zip(*((s.ttft, s.not_attributed, s.overlap) for s in splits), strict=True)
    )
    names = [name for name in PARTS if any(name in split.parts for split in splits)]
    return {
        "n": len(splits),
        "mean_ttft_ms": ttft,
        "parts_ms": {name: fmean(split.parts.get(name, 0.0) for split in splits) for name in names},
        "not_attributed_ms": unknown,
        "overlap_ms": overlap,
        "attributed_pct": 100 * (1 - (unknown + overlap) / ttft) if ttft else None,
    }
