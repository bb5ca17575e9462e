"""Above which prompt length does sharing win on this volume?

For n tokens, TTFT of recomputing is fitted with a parabola and TTFT of loading with a line. The length at which they
cross is the break-even. It is confirmed by measuring at half and at twice that length.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import numpy as np

from bench.arm_summary import summarize_arm
from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, EngineRole
from bench.experiment import Experiment, OnProgressLine, Phase, document_experiment
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.question_results import AccessSpeed, VolumeSummary
from bench.result import Result
from bench.sample import Sample
from bench.speedup import compare_arms, interval_json, paired
from bench.statistics import interval
from cache.bandwidth import Bandwidth, measure_bandwidth
from cache.volume import bytes_per_token, current_namespace
from config.settings import Settings

ARMS = (COLD, FIRST_SIGHT, CROSS_READ)
LENGTHS = tuple(256 * n + 32 for n in (1, 2, 4, 8, 16))  # whole chunks of 256 tokens or fewer, plus a question
STAND_IN_BYTES = 23_040  # of KV for each token of the stand-in model in bfloat16
CONFIRMATIONS = 5  # times as many documents as for other lengths, because both arms are nearly tied there
SHORTEST = 64  # tokens; shorter prompts have no room for the question and the chat template
MIN_LENGTHS = 3  # a parabola has three coefficients

Volume = Mapping[str, Any]  # as returned by `volume_of`; empty until the volume is measured
MeasureVolume = Callable[[OnProgressLine], Awaitable[Volume]]


def study(
    options: Options, roles: EngineRoles, measure_speed: MeasureVolume, measured: Volume | None = None
) -> Experiment:
    """The experiment: each length of `options.input_lens`, then the two lengths that confirm the break-even.

    The volume is measured after the warm-up, when it contains chunks whose size can be read. If an interrupted run has
    already measured it, `measured` is used instead.
    """
    volume = dict(measured or {})
    documents, chunk_size = len(options.input_lens), roles[EngineRole.READER][0].chunk_size
    confirmations = CONFIRMATIONS * documents // len(set(options.input_lens))  # documents of each confirming length

    def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
        lengths = sorted({s.input_len for s in samples})
        return {
            "storage": volume,
            "lengths": [_length(samples, length, options) for length in lengths],
            "break_even": break_even(samples, options, volume, chunk_size),
        }

    async def measure_once(say: OnProgressLine) -> None:
        if not volume:
            volume.update(await measure_speed(say))

    def confirm(samples: Sequence[Sample]) -> Phase:
        lengths = confirming_lengths(break_even(samples, options, {}, chunk_size)["input_len"], options)
        units = plan(ARMS, roles, lengths * confirmations, options.seed + 1, documents)
        return Phase(units, warmups(ARMS, roles, lengths, options.num_warmups))

    by_length = sorted(set(options.input_lens))
    expected = (by_length[len(by_length) // 2], by_length[-1])
    return replace(
        document_experiment(options, roles, ARMS, ARMS, summary),
        arms=(),  # an average over all lengths would mean nothing
        before_first=measure_once,
        next_phase=confirm,
        expected_units=plan(ARMS, roles, expected * confirmations, options.seed, documents),
    )


async def measure_volume(settings: Settings, say: OnProgressLine) -> Volume:
    """Measures the KV volume with files of the size of its chunks, or of the stand-in model's chunks if it has none.

    Raises the errors of `measure_bandwidth`.
    """
    per_token = bytes_per_token(current_namespace(settings), settings.chunk_size)
    chunk_bytes = round((per_token or STAND_IN_BYTES) * settings.chunk_size)
    bandwidth = await measure_bandwidth(settings.kv_store_dir, chunk_bytes, lambda step: say(f"KV volume, {step}"))
    return volume_of(bandwidth, per_token)


def volume_of(bandwidth: Bandwidth, bytes_per_token: float | None) -> dict[str, Any]:
    """The VolumeSummary as JSON: speeds with files of one chunk, as LMCache uses them, and with one large file."""
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


def holds(result: Result) -> bool:
    """Whether there is a break-even, and every confirming length confirms it."""
    confirmed = result.break_even.confirmed
    return bool(confirmed) and all(each.holds for each in confirmed)


def break_even(samples: Sequence[Sample], options: Options, volume: Volume, chunk_size: int) -> dict[str, Any]:
    """The fits over the planned documents, the length where they cross, and the results at the confirming lengths.

    A break-even is at least one chunk plus one token long, because nothing can be shared below that.
    """
    planned = [s for s in samples if s.document < len(options.input_lens)]
    recompute, load = _fit(planned, COLD.name, 2), _fit(planned, CROSS_READ.name, 1)
    lengths = range(max(chunk_size + 1, min(options.input_lens)), max(options.input_lens) + 1)
    length = crossing_length(recompute, load, lengths) if recompute and load else None
    speeds = VolumeSummary.model_validate(volume)
    per_token = speeds.bytes_per_token
    rate = per_token / (load[1] * 1e-3) / 1e9 if per_token and load and load[1] > 0 else None
    confirming = confirming_lengths(length, options)
    return {
        "input_len": length,
        "why": _why(length, options, chunk_size) if recompute and load else _unfitted(planned),
        "recompute_fit": recompute,
        "load_fit": load,
        "bytes_per_token": per_token,
        "effective_gb_per_s": rate,
        "share_of_device_pct": _share(rate, speeds.read_device),
        "share_of_page_cache_pct": _share(rate, speeds.read_cached),
        "confirmed": [_confirmed(samples, n, length, options, chunk_size) for n in confirming] if length else [],
    }


def crossing_length(recompute: Sequence[float], load: Sequence[float], among: Sequence[int]) -> int | None:
    """The length in `among` from which on loading is always faster; None if it is not faster at the longest.

    The coefficient with index i is in milliseconds per token to the power of i. Nothing is extrapolated beyond `among`.
    """
    lengths = np.asarray(among)
    wins = np.polynomial.polynomial.polyval(lengths, load) < np.polynomial.polynomial.polyval(lengths, recompute)
    if not wins.size or not wins[-1]:
        return None
    losing = np.flatnonzero(~wins)
    return int(lengths[losing[-1] + 1]) if losing.size else int(lengths[0])


def confirming_lengths(length: int | None, options: Options) -> tuple[int, ...]:
    """Half and twice the break-even: half only if a prompt can be that short, twice limited to the longest length."""
    if length is None:
        return ()
    half, twice = length // 2, min(2 * length, max(options.input_lens))
    return tuple(n for n, use in ((half, half >= SHORTEST), (twice, twice > length)) if use)


def _fit(samples: Sequence[Sample], arm: str, degree: int) -> list[float] | None:
    """A least-squares fit over the median of each length; None if there are fewer lengths than coefficients."""
    by_length = _by_length(samples, arm)
    if len(by_length) <= degree:
        return None
    tokens = [median(s.prompt_tokens or 0 for s in here) for here in by_length.values()]
    ms = [median(s.ttft_ms or 0 for s in here) for here in by_length.values()]
    weights = 1 / np.asarray(ms)  # fit relative errors, so that long prompts do not outweigh short ones
    return [float(c) for c in np.polynomial.polynomial.polyfit(tokens, ms, degree, w=weights)]


def _by_length(samples: Sequence[Sample], arm: str) -> Mapping[int, Sequence[Sample]]:
    """The valid samples of an arm by prompt length, shortest first."""
    valid = [s for s in samples if s.arm == arm and s.valid and s.ttft_ms is not None and s.prompt_tokens]
    return {n: [s for s in valid if s.input_len == n] for n in sorted({s.input_len for s in valid})}


def _confirmed(samples: Sequence[Sample], length: int, found: int, options: Options, chunk_size: int) -> dict[str, Any]:
    here = [s for s in samples if s.document >= len(options.input_lens) and s.input_len == length]
    level, seed = options.confidence_level, options.seed
    comparison = compare_arms(here, CROSS_READ.name, COLD.name, confidence_level=level, seed=seed)
    expected = "recompute" if length < found else "load"
    verdict = comparison["verdict"]
    agrees = verdict == "faster" if expected == "load" else verdict in ("slower", "not distinguishable")
    return {
        "input_len": length,
        "expected": expected,
        "shareable_tokens": (length - 1) // chunk_size * chunk_size,
        "verdict": verdict,
        "speedup": comparison["speedup"],
        "holds": agrees if verdict != "no claim" else None,
    }


def _length(samples: Sequence[Sample], length: int, options: Options) -> dict[str, Any]:
    here = [s for s in samples if s.input_len == length]
    level, seed = options.confidence_level, options.seed
    ratios = [slow / fast for fast, slow in paired(here, CROSS_READ.name, COLD.name)]

    def arm(name: str) -> dict[str, Any]:
        of_arm = [s for s in here if s.arm == name]
        return summarize_arm(of_arm, detailed=options.save_detailed, confidence_level=level, seed=seed)

    return {
        "input_len": length,
        "recompute": arm(COLD.name),
        "load": arm(CROSS_READ.name),
        "speedup": interval_json(interval(ratios, level, seed), level),
    }


def _why(length: int | None, options: Options, chunk_size: int) -> str:
    if length is None:
        return f"up to {max(options.input_lens):,} tokens loading was not found to be sooner than computing"
    shortest = min(options.input_lens)
    if length == shortest > chunk_size + chunk_size // 2:
        return "loading is sooner at the shortest length that was measured: measure shorter ones for the break-even"
    if length == max(shortest, chunk_size + 1):
        return f"as soon as one chunk of {chunk_size} tokens can be shared, loading it is sooner than computing it"
    return "the fitted times of recomputing and loading cross here"


def _unfitted(samples: Sequence[Sample]) -> str:
    """Why the lengths could not be fitted."""
    lengths = [len(_by_length(samples, arm.name)) for arm in (COLD, CROSS_READ)]
    return (
        f"{MIN_LENGTHS} lengths with valid samples are needed to tell, and computing has them at {lengths[0]}, "
        f"loading at {lengths[1]}: see why samples do not count, or measure more lengths"
    )


def _share(rate: float | None, access: AccessSpeed) -> float | None:
    return 100 * rate / access.gb_per_s if rate and access.gb_per_s else None
