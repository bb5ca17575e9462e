"""From which prompt length on does sharing win, on this volume?

TTFT of recomputing n tokens grows like a parabola, that of loading them like a line; where they cross is the
break-even. It is confirmed by measuring at half and at twice that length.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from bench.arm_summary import summarize_arm
from bench.arms import COLD, CROSS_READ, FIRST_SIGHT
from bench.experiment import Experiment, OnProgressLine, Phase
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.report.result_fields import fields, number
from bench.sample import Sample
from bench.speedup import compare_arms, interval_json, paired
from bench.statistics import interval
from bench.text_prompts import handbook_prompts
from cache.bandwidth import CHUNK_BYTES, Bandwidth, measure_bandwidth
from cache.volume import CHUNK_SIZE, bytes_per_token, current_namespace
from config.settings import Settings

ARMS = (COLD, FIRST_SIGHT, CROSS_READ)
LENGTHS = tuple(chunks * CHUNK_SIZE + 64 for chunks in (1, 2, 4, 8, 16))  # whole chunks, and a question
CONFIRMATIONS = 5  # times the documents of the other lengths: half and twice the break-even are near a tie
SHORTEST = 64  # tokens that the question and the chat template leave room for
FEWEST_LENGTHS = 3  # a parabola has three coefficients

Volume = Mapping[str, Any]  # as `volume_of` gives it; empty as long as it was not measured
MeasureVolume = Callable[[OnProgressLine], Awaitable[Volume]]


def study(options: Options, cast: EngineRoles, look: MeasureVolume, volume: Volume | None = None) -> Experiment:
    """Each length of `options.input_lens`, then the two lengths that confirm what was found.

    `look` measures the volume, unless an interrupted run left what it measured: after the warm-up, for then there are
    stored chunks whose size can be told.
    """

    async def survey(say: OnProgressLine) -> Experiment:
        return of(await look(say))

    def of(volume: Volume) -> Experiment:
        return replace(planned, summary=partial(_summary, volume), survey=None)

    many = _confirmations(options)
    planned = Experiment(
        arms=(),  # an arm over all lengths would be no measurement of anything
        trials=plan(ARMS, cast, options.input_lens, options.seed),
        warmups=warmups(ARMS, cast, options.input_lens, options.num_warmups),
        prompt=handbook_prompts(options),
        summary=partial(_summary, {}),
        more=partial(_confirmation, options, cast),
        foreseen=plan(ARMS, cast, _about(options) * many, options.seed, len(options.input_lens)),
        survey=survey,
    )
    return of(volume) if volume else planned


async def measure_volume(settings: Settings, say: OnProgressLine) -> Volume:
    """Measures the KV volume in files as large as its chunks are, where it has any. Raises as that does."""
    per_token = bytes_per_token(current_namespace(settings))
    chunk_bytes = round(per_token * CHUNK_SIZE) if per_token else CHUNK_BYTES
    bandwidth = await measure_bandwidth(settings.kv_store_dir, chunk_bytes, lambda step: say(f"KV volume, {step}"))
    return volume_of(bandwidth, per_token)


def volume_of(bandwidth: Bandwidth, bytes_per_token: float | None) -> dict[str, Any]:
    """The pattern that LMCache uses, files of one chunk, in front; both patterns whole behind."""
    chunks = asdict(bandwidth.chunks)
    return {
        "tool": bandwidth.tool,
        "path": bandwidth.folder,
        "filesystem": bandwidth.filesystem,
        "note": bandwidth.note,
        "chunk_bytes": bandwidth.chunk_bytes,
        "bytes_per_token": bytes_per_token,
        "workers": bandwidth.workers,
        "read_cached": chunks["read_cached"],
        "read_device": chunks["read_device"],
        "write_device": chunks["write"],
        "sequential": asdict(bandwidth.sequential),
    }


def _summary(volume: Volume, samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    return {
        "storage": volume,
        "lengths": [_length(samples, length, options) for length in sorted({s.input_len for s in samples})],
        "break_even": break_even(samples, options, volume),
    }


def _confirmation(options: Options, cast: EngineRoles, samples: Sequence[Sample]) -> Phase:
    lengths = confirmation_trials(break_even(samples, options, {})["input_len"], options)
    trials = plan(ARMS, cast, lengths * _confirmations(options), options.seed + 1, len(options.input_lens))
    return Phase(trials, warmups(ARMS, cast, lengths, options.num_warmups))


def _confirmations(options: Options) -> int:
    """Documents of each confirming length."""
    return CONFIRMATIONS * len(options.input_lens) // len(set(options.input_lens))


def _about(options: Options) -> tuple[int, int]:
    """Two lengths to reckon with until those that confirm are known."""
    lengths = sorted(set(options.input_lens))
    return lengths[len(lengths) // 2], lengths[-1]


def break_even(samples: Sequence[Sample], options: Options, volume: Volume) -> dict[str, Any]:
    """Fits over the planned documents, the length where they cross, and what the confirming documents say.

    Below one chunk and a token nothing can be shared, so no break-even is shorter than that.
    """
    planned = [s for s in samples if s.document < len(options.input_lens)]
    recompute, load = _fit(planned, COLD.name, 2), _fit(planned, CROSS_READ.name, 1)
    lengths = range(max(CHUNK_SIZE + 1, min(options.input_lens)), max(options.input_lens) + 1)
    length = crossing_length(recompute, load, lengths) if recompute and load else None
    per_token = number(volume, "bytes_per_token")
    rate = per_token / (load[1] * 1e-3) / 1e9 if per_token and load and load[1] > 0 else None
    return {
        "input_len": length,
        "why": _why(length, options) if recompute and load else _unfitted(planned),
        "recompute_fit": recompute,
        "load_fit": load,
        "bytes_per_token": per_token,
        "effective_gb_per_s": rate,
        "share_of_device_pct": _share(rate, volume, "read_device"),
        "share_of_page_cache_pct": _share(rate, volume, "read_cached"),
        "confirmed": [_confirmed(samples, n, length, options) for n in confirmation_trials(length, options)]
        if length
        else [],
    }


def crossing_length(recompute: Sequence[float], load: Sequence[float], among: Sequence[int]) -> int | None:
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


def confirmation_trials(length: int | None, options: Options) -> tuple[int, ...]:
    """Half and twice the break-even, within what a prompt can be, and what was measured."""
    if length is None:
        return ()
    longest = max(options.input_lens)
    half, twice = length // 2, min(2 * length, longest)
    return tuple(n for n, use in ((half, half >= SHORTEST), (twice, twice > length)) if use)


def _fit(samples: Sequence[Sample], arm: str, degree: int) -> list[float] | None:
    """Least squares over the medians of the lengths; None with fewer lengths than coefficients."""
    of_arm, lengths = _valid(samples, arm), _lengths(samples, arm)
    if len(lengths) <= degree:
        return None
    tokens = [median(s.prompt_tokens or 0 for s in of_arm if s.input_len == n) for n in lengths]
    ms = [median(s.ttft_ms or 0 for s in of_arm if s.input_len == n) for n in lengths]
    weights = 1 / np.asarray(ms)  # relative errors: a long prompt's seconds must not drown a short one's milliseconds
    return [float(c) for c in np.polynomial.polynomial.polyfit(tokens, ms, degree, w=weights)]


def _lengths(samples: Sequence[Sample], arm: str) -> list[int]:
    return sorted({s.input_len for s in _valid(samples, arm)})


def _valid(samples: Sequence[Sample], arm: str) -> list[Sample]:
    return [s for s in samples if s.arm == arm and s.valid and s.ttft_ms is not None and s.prompt_tokens]


def _confirmed(samples: Sequence[Sample], length: int, found: int, options: Options) -> dict[str, Any]:
    here = [s for s in samples if s.document >= len(options.input_lens) and s.input_len == length]
    comparison = compare_arms(
        here, CROSS_READ.name, COLD.name, confidence_level=options.confidence_level, seed=options.seed
    )
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
        arm: summarize_arm(
            [s for s in here if s.arm == arm], detailed=options.save_detailed, confidence_level=level, seed=seed
        )
        for arm in (COLD.name, CROSS_READ.name)
    }
    return {
        "input_len": length,
        "recompute": fields[COLD.name],
        "load": fields[CROSS_READ.name],
        "speedup": interval_json(interval(ratios, level, seed), level),
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


def _unfitted(samples: Sequence[Sample]) -> str:
    """Why there is no fit."""
    lengths = [len(_lengths(samples, arm.name)) for arm in (COLD, CROSS_READ)]
    return (
        f"{FEWEST_LENGTHS} lengths with valid samples are needed to tell, and computing has them at {lengths[0]}, "
        f"loading at {lengths[1]}: see why samples do not count, or measure more lengths"
    )


def _share(rate: float | None, volume: Volume, access: str) -> float | None:
    of = number(fields(volume, access), "gb_per_s")
    return 100 * rate / of if rate and of else None
