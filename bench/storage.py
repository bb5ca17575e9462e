"""From which prompt length on does sharing win, on this volume?

TTFT of recomputing n tokens grows like a parabola, that of loading them like a line; where they cross is the
break-even. It is confirmed by measuring at half and at twice that length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT
from bench.comparison import as_json, compare, paired
from bench.fields import arm_fields
from bench.plan import Cast, Trial, plan, warmups
from bench.sample import Sample
from bench.statistics import interval
from bench.study import Options, Study
from bench.ttft import prompts
from cache.storage import Bandwidth
from cache.volume import CHUNK_SIZE

ARMS = (COLD, FIRST_SIGHT, CROSS_READ)
LENGTHS = tuple(chunks * CHUNK_SIZE + 64 for chunks in (1, 2, 4, 8, 16))  # whole chunks, and a question
CONFIRMATIONS = 5  # times the documents of the other lengths: half and twice the break-even are near a tie
SHORTEST = 64  # tokens that the question and the chat template leave room for


def study(options: Options, cast: Cast, bandwidth: Bandwidth, bytes_per_token: float | None) -> Study:
    """Each length of `options.input_lens`, then the two lengths that confirm what was found."""

    def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
        return {
            "storage": _storage(bandwidth),
            "lengths": [_length(samples, length, options) for length in sorted({s.input_len for s in samples})],
            "break_even": break_even(samples, options, bandwidth, bytes_per_token),
        }

    def confirmation(samples: Sequence[Sample]) -> tuple[Trial, ...]:
        lengths = confirming(break_even(samples, options, bandwidth, bytes_per_token)["input_len"], options)
        first = len(options.input_lens)
        each = CONFIRMATIONS * first // len(set(options.input_lens))
        return plan(ARMS, cast, lengths * each, options.seed + 1, first)

    return Study(
        arms=(),  # an arm over all lengths would be no measurement of anything
        trials=plan(ARMS, cast, options.input_lens, options.seed),
        warmups=warmups(ARMS, cast, (max(options.input_lens),), options.num_warmups),
        prompt=prompts(options),
        summary=summary,
        more=confirmation,
    )


def break_even(
    samples: Sequence[Sample], options: Options, bandwidth: Bandwidth, bytes_per_token: float | None
) -> dict[str, Any]:
    """Fits over the planned documents, the length where they cross, and what the confirming documents say.

    Below one chunk and a token nothing can be shared, so no break-even is shorter than that.
    """
    planned = [s for s in samples if s.document < len(options.input_lens)]
    recompute, load = _fit(planned, COLD.name, 2), _fit(planned, CROSS_READ.name, 1)
    lengths = range(max(CHUNK_SIZE + 1, min(options.input_lens)), max(options.input_lens) + 1)
    length = crossing(recompute, load, lengths) if recompute and load else None
    rate = bytes_per_token / (load[1] * 1e-3) / 1e9 if bytes_per_token and load and load[1] > 0 else None
    return {
        "input_len": length,
        "why": _why(length, options),
        "recompute_fit": recompute,
        "load_fit": load,
        "bytes_per_token": bytes_per_token,
        "effective_gb_per_s": rate,
        "share_of_device_pct": _share(rate, bandwidth.chunks.read_device.gb_per_s),
        "share_of_page_cache_pct": _share(rate, bandwidth.chunks.read_cached.gb_per_s),
        "confirmed": [_confirmed(samples, n, length, options) for n in confirming(length, options)] if length else [],
    }


def crossing(recompute: Sequence[float], load: Sequence[float], among: Sequence[int]) -> int | None:
    """The shortest length from which the line stays under the parabola; None when it is not under it at the longest.

    Coefficients are milliseconds for n tokens to the power of their index; lengths that were not measured are not
    guessed at.
    """
    lengths = np.asarray(among)
    wins = np.polynomial.polynomial.polyval(lengths, load) < np.polynomial.polynomial.polyval(lengths, recompute)
    if not wins.size or not wins[-1]:
        return None
    losing = np.flatnonzero(~wins)
    return int(lengths[losing[-1] + 1]) if losing.size else int(lengths[0])


def confirming(length: int | None, options: Options) -> tuple[int, ...]:
    """Half and twice the break-even, within what a prompt can be, and what was measured."""
    if length is None:
        return ()
    longest = max(options.input_lens)
    half, twice = length // 2, min(2 * length, longest)
    return tuple(n for n, use in ((half, half >= SHORTEST), (twice, twice > length)) if use)


def _fit(samples: Sequence[Sample], arm: str, degree: int) -> list[float] | None:
    """Least squares over the medians of the lengths; None with fewer lengths than coefficients."""
    of_arm = [s for s in samples if s.arm == arm and s.valid and s.ttft_ms is not None and s.prompt_tokens]
    lengths = sorted({s.input_len for s in of_arm})
    if len(lengths) <= degree:
        return None
    tokens = [median(s.prompt_tokens or 0 for s in of_arm if s.input_len == n) for n in lengths]
    ms = [median(s.ttft_ms or 0 for s in of_arm if s.input_len == n) for n in lengths]
    weights = 1 / np.asarray(ms)  # relative errors: a long prompt's seconds must not drown a short one's milliseconds
    return [float(c) for c in np.polynomial.polynomial.polyfit(tokens, ms, degree, w=weights)]


def _confirmed(samples: Sequence[Sample], length: int, found: int, options: Options) -> dict[str, Any]:
    here = [s for s in samples if s.document >= len(options.input_lens) and s.input_len == length]
    comparison = compare(here, CROSS_READ.name, COLD.name, confidence_level=options.confidence_level, seed=options.seed)
    expected = "recompute" if length < found else "load"
    verdict = comparison["verdict"]
    holds = verdict == "faster" if expected == "load" else verdict in ("slower", "not distinguishable")
    return {
        "input_len": length,
        "expected": expected,
        "shareable_tokens": (length - 1) // CHUNK_SIZE * CHUNK_SIZE,
        "verdict": verdict,
        "speedup": comparison["speedup"],
        "holds": holds if verdict != "no claim" else None,
    }


def _length(samples: Sequence[Sample], length: int, options: Options) -> dict[str, Any]:
    here = [s for s in samples if s.input_len == length]
    level, seed = options.confidence_level, options.seed
    ratios = [slow / fast for fast, slow in paired(here, CROSS_READ.name, COLD.name)]
    fields = {
        arm: arm_fields(
            [s for s in here if s.arm == arm], detailed=options.save_detailed, confidence_level=level, seed=seed
        )
        for arm in (COLD.name, CROSS_READ.name)
    }
    return {
        "input_len": length,
        "recompute": fields[COLD.name],
        "load": fields[CROSS_READ.name],
        "speedup": as_json(interval(ratios, level, seed), level),
    }


def _storage(bandwidth: Bandwidth) -> dict[str, Any]:
    """The pattern that LMCache uses, files of one chunk, in front; both patterns whole behind."""
    chunks = asdict(bandwidth.chunks)
    return {
        "tool": bandwidth.tool,
        "path": bandwidth.folder,
        "filesystem": bandwidth.filesystem,
        "note": bandwidth.note,
        "chunk_bytes": bandwidth.chunk_bytes,
        "workers": bandwidth.workers,
        "read_cached": chunks["read_cached"],
        "read_device": chunks["read_device"],
        "write_device": chunks["write"],
        "sequential": asdict(bandwidth.sequential),
    }


def _why(length: int | None, options: Options) -> str:
    if length is None:
        return f"up to {max(options.input_lens):,} tokens loading was not found to be sooner than computing"
    shortest = min(options.input_lens)
    if length == shortest > CHUNK_SIZE + CHUNK_SIZE // 2:
        return "loading is sooner at the shortest length that was measured: measure shorter ones for the break-even"
    if length == max(shortest, CHUNK_SIZE + 1):
        return f"as soon as one chunk of {CHUNK_SIZE} tokens can be shared, loading it is sooner than computing it"
    return "the fitted times of recomputing and loading cross here"


def _share(rate: float | None, of: float | None) -> float | None:
    return 100 * rate / of if rate and of else None
