"""A result as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from bench.ttft import ARMS

MEANING = {
    "cold": "plain, nobody has seen it",
    "other_instance": "plain, the other engine has",
    "first_sight": "computes and stores",
    "cross_read": "reads what lmcache-a stored",
    "own_warm": "its own prefix cache",
}


def table(result: Mapping[str, Any]) -> Table:
    """One row an arm: median TTFT with its range, against cold, and the share of prompt tokens that were cached."""
    rows = Table("arm", "engine", "", "median TTFT", "min-max", "cold / this", "cached", "n", box=None, pad_edge=False)
    cold = result["arms"]["cold"]["median_ttft_ms"]
    for arm in ARMS:
        fields = result["arms"][arm.name]
        rows.add_row(arm.name, arm.engine, MEANING[arm.name], *_cells(fields, cold))
    return rows


def conclusion(result: Mapping[str, Any]) -> str:
    """The claim in one sentence, or why there is none."""
    speedup = result["comparison"]["speedup"]
    if speedup["median"] is None:
        return "No claim: no document has a valid sample both cold and cross-read."
    return (
        f"What lmcache-a has read starts {speedup['median']:.1f} times sooner on lmcache-b than cold on plain-a "
        f"(median of {speedup['n']} documents, {speedup['min']:.1f} to {speedup['max']:.1f})."
    )


def faults(result: Mapping[str, Any]) -> Sequence[str]:
    """One line for each sample that does not count."""
    return [
        f"document {row['document']}, {row['arm']}: {row['reason']}" for row in result["samples"] if not row["valid"]
    ]


def _cells(fields: Mapping[str, Any], cold: float | None) -> tuple[str, ...]:
    ttfts = [seconds * 1e3 for seconds in fields["ttfts"]]
    if not ttfts:
        return ("-", "-", "-", "-", "0")
    middle = fields["median_ttft_ms"]
    return (
        f"{middle:,.0f} ms",
        f"{min(ttfts):,.0f}-{max(ttfts):,.0f}",
        f"{cold / middle:.1f}" if cold else "-",
        f"{fields['total_cached_tokens'] / fields['total_input_tokens']:.0%}",
        str(len(ttfts)),
    )
