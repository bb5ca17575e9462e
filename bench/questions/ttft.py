"""Does sharing pay off? Every document through every arm, and the cross-read against the cold one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, OTHER_INSTANCE, TEXT_ARMS
from bench.experiment import Experiment
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.sample import Sample
from bench.speedup import arm_speedups, compare_arms
from bench.text_prompts import handbook_prompts


def study(options: Options, cast: EngineRoles) -> Experiment:
    """The arena's four engines."""
    return Experiment(
        arms=TEXT_ARMS,
        trials=plan(TEXT_ARMS, cast, options.input_lens, options.seed),
        warmups=warmups((COLD, FIRST_SIGHT, CROSS_READ), cast, options.input_lens, options.num_warmups),
        prompt=handbook_prompts(options),
        summary=summary,
    )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The claim, and every other arm beside the cold one."""
    others = [arm.name for arm in TEXT_ARMS if arm is not COLD]
    return {
        "comparison": compare_arms(
            samples,
            CROSS_READ.name,
            COLD.name,
            noise=(OTHER_INSTANCE.name, COLD.name),
            confidence_level=options.confidence_level,
            seed=options.seed,
        ),
        "ladder": arm_speedups(samples, others, COLD.name, options),
    }
