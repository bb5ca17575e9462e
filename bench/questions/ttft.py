"""The questions that send each document through several arms and compare two of them: ttft, aa, decode, two servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from bench.arms import (
    COLD,
    CROSS_READ,
    FIRST_SIGHT,
    OTHER_INSTANCE,
    PLAIN_A,
    PLAIN_B,
    TTFT_ARMS,
    Arm,
    EngineRole,
    always_valid,
    not_cached_if_reported,
    under_another_nonce,
)
from bench.experiment import Experiment, document_experiment, handbook_prompt
from bench.options import Options
from bench.plan import EngineRoles
from bench.result import Result
from bench.sample import Sample
from bench.sample_warnings import sample_warnings, source_unknown_warnings
from bench.speedup import SampleMetric, arm_speedups, compare_arms
from bench.time_budget import budgets

AA_ARMS = (PLAIN_A, PLAIN_B)
DECODE_ARMS = (COLD, OTHER_INSTANCE, FIRST_SIGHT)

# Servers may differ in speed, so the second one is compared with its own TTFT for a document that is new to both.
FIRST_COLD = Arm("cold", EngineRole.PLAIN, not_cached_if_reported)
SECOND_COLD = Arm(
    "other_cold", EngineRole.OTHER, not_cached_if_reported, after_arm="cold", transform=under_another_nonce()
)
SECOND_READ = Arm("other_instance", EngineRole.OTHER, always_valid, after_arm="cold", reads=True)
SECOND_WARM = Arm("own_warm", EngineRole.OTHER, always_valid, after_arm="other_instance")
TWO_SERVER_ARMS = (FIRST_COLD, SECOND_COLD, SECOND_READ, SECOND_WARM)


def study(options: Options, roles: EngineRoles) -> Experiment:
    """Does sharing pay off? All arms on the arena's four engines; the claim compares cross-read with cold."""
    return document_experiment(options, roles, TTFT_ARMS, (COLD, FIRST_SIGHT, CROSS_READ), summary)


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The claim (cross-read against cold), and the speed-up of every other arm over cold."""
    others = [arm.name for arm in TTFT_ARMS if arm is not COLD]
    comparison = _compare(samples, CROSS_READ, COLD, options, noise=(OTHER_INSTANCE.name, COLD.name))
    ladder = arm_speedups(samples, others, COLD.name, options)
    return {"comparison": comparison, "ladder": ladder, "budgets": budgets(samples, TTFT_ARMS)}


def holds(result: Result) -> bool:
    """Whether the result makes a claim."""
    return result.comparison.verdict != "no claim"


def aa_study(options: Options, roles: EngineRoles) -> Experiment:
    """The noise floor: both plain engines get every document. Roles are not swapped: the arms are the engines."""
    return document_experiment(options, roles, AA_ARMS, (PLAIN_A,), aa_summary, swap=False)


def aa_summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """Compares the two plain engines."""
    return {"comparison": _compare(samples, PLAIN_B, PLAIN_A, options)}


def aa_holds(result: Result) -> bool:
    """Whether the two plain engines cannot be told apart."""
    return result.comparison.verdict == "not distinguishable"


def decode_study(options: Options, roles: EngineRoles) -> Experiment:
    """How much storing slows down the tokens generated meanwhile.

    An lmcache engine still stores a document while it answers; a plain engine gives the same answer without storing.
    The difference in time per output token is the cost, if it exceeds the noise, which is the difference between the
    two plain engines.
    """
    return document_experiment(options, roles, DECODE_ARMS, (COLD, FIRST_SIGHT), decode_summary)


def decode_summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """Compares the arms by milliseconds per output token, as timed by the engine."""
    metric = SampleMetric("decode_ms", decode_ms, needs="generation_time_ms (--enable-per-request-metrics)")
    noise = (OTHER_INSTANCE.name, COLD.name)
    by_arm = {arm.name: [s for s in samples if s.arm == arm.name] for arm in DECODE_ARMS}
    return {
        "comparison": _compare(samples, FIRST_SIGHT, COLD, options, noise=noise, measure=metric),
        "decode": {
            "median_decode_ms": {name: _median_decode_ms(of_arm) for name, of_arm in by_arm.items()},
            "stall_ms": {name: _longest_gap_ms(of_arm) for name, of_arm in by_arm.items()},
            "bursts": {name: sum(s.in_one_burst for s in of_arm) for name, of_arm in by_arm.items()},
        },
    }


def decode_ms(sample: Sample) -> float | None:
    """Milliseconds per output token after the first, on the engine's own clock (`generation_time_ms`).

    TPOT starts when the client receives the first token, which an engine busy with storing may send late. Several
    tokens then arrive in one burst, so the longer the delay, the better TPOT looks. `bursts` counts such answers.
    """
    tokens = (sample.completion_tokens or 0) - 1
    return sample.server_generation_ms / tokens if sample.server_generation_ms and tokens > 0 else None


def two_servers_study(options: Options, roles: EngineRoles) -> Experiment:
    """Any two servers: does the second one start sooner on a document that the first one has read?

    The servers keep their roles. The source of the second one's cached tokens is not checked, because external servers
    may not report it.
    """
    warm_arms = (FIRST_COLD, SECOND_READ)
    return replace(
        document_experiment(options, roles, TWO_SERVER_ARMS, warm_arms, two_servers_summary, swap=False),
        prompt=handbook_prompt(options, ignore_eos=False),
        warnings=lambda samples: [*source_unknown_warnings(samples), *sample_warnings(samples)],
    )


def two_servers_summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The claim (the second server against its own cold start), and the speed-up of every other arm over that."""
    others = [arm.name for arm in TWO_SERVER_ARMS if arm is not SECOND_COLD]
    comparison = _compare(samples, SECOND_READ, SECOND_COLD, options)
    ladder = arm_speedups(samples, others, SECOND_COLD.name, options)
    return {"comparison": comparison, "ladder": ladder, "budgets": budgets(samples, TWO_SERVER_ARMS)}


def _compare(samples: Sequence[Sample], of: Arm, over: Arm, options: Options, **more: Any) -> dict[str, Any]:
    level, seed = options.confidence_level, options.seed
    return compare_arms(samples, of.name, over.name, confidence_level=level, seed=seed, **more)


def _median_decode_ms(samples: Sequence[Sample]) -> float | None:
    times = [ms for s in samples if s.valid and (ms := decode_ms(s)) is not None]
    return median(times) if times else None


def _longest_gap_ms(samples: Sequence[Sample]) -> float | None:
    return max((max(s.itls) * 1e3 for s in samples if s.valid and s.itls), default=None)
