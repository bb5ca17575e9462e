"""What storing costs the tokens that come meanwhile.

An lmcache engine stores a document while it already answers. The same answer on a plain engine stores nothing; the
difference of their time per output token is the price. It is held against the noise: the other plain engine answers
too, and should not differ from the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.arms import COLD, FIRST_SIGHT, OTHER_INSTANCE
from bench.experiment import Experiment
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.sample import Sample
from bench.speedup import SampleMetric, compare_arms
from bench.text_prompts import handbook_prompts

ARMS = (COLD, OTHER_INSTANCE, FIRST_SIGHT)


def study(options: Options, cast: EngineRoles) -> Experiment:
    """Every document cold on both plain engines, and at first sight on an lmcache engine."""
    return Experiment(
        arms=ARMS,
        trials=plan(ARMS, cast, options.input_lens, options.seed),
        warmups=warmups((COLD, FIRST_SIGHT), cast, options.input_lens, options.num_warmups),
        prompt=handbook_prompts(options),
        summary=summary,
    )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """By milliseconds per output token on the engine's own clock."""
    return {
        "comparison": compare_arms(
            samples,
            FIRST_SIGHT.name,
            COLD.name,
            noise=(OTHER_INSTANCE.name, COLD.name),
            measure=SampleMetric("decode_ms", decode_ms, needs="generation_time_ms (--enable-per-request-metrics)"),
            confidence_level=options.confidence_level,
            seed=options.seed,
        ),
        "decode": {
            "median_decode_ms": {arm.name: _median(samples, arm.name) for arm in ARMS},
            "stall_ms": {arm.name: _longest_gap(samples, arm.name) for arm in ARMS},
            "bursts": {arm.name: sum(s.in_one_burst for s in samples if s.arm == arm.name) for arm in ARMS},
        },
    }


def decode_ms(sample: Sample) -> float | None:
    """Milliseconds per output token after the first, on the engine's own clock (`generation_time_ms`).

    TPOT would start at the client's first token, which an engine that is busy storing may hand on late: several
    tokens then come in one burst, and TPOT looks better the worse it is. `bursts` counts such answers.
    """
    tokens = (sample.completion_tokens or 0) - 1
    return sample.server_generation_ms / tokens if sample.server_generation_ms and tokens > 0 else None


def _median(samples: Sequence[Sample], arm: str) -> float | None:
    times = [ms for s in samples if s.arm == arm and s.valid and (ms := decode_ms(s)) is not None]
    return median(times) if times else None


def _longest_gap(samples: Sequence[Sample], arm: str) -> float | None:
    gaps = [max(s.itls) * 1e3 for s in samples if s.arm == arm and s.valid and s.itls]
    return max(gaps, default=None)
