"""The noise floor: two engines that should not differ, each with documents that nobody has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.arms import PLAIN_A, PLAIN_B
from bench.experiment import Experiment
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.sample import Sample
from bench.speedup import compare_arms
from bench.text_prompts import handbook_prompts

ARMS = (PLAIN_A, PLAIN_B)


def study(options: Options, cast: EngineRoles) -> Experiment:
    """Both plain engines get every document. No roles are swapped: the arms are the engines."""
    still = {role: (engines[0], engines[0]) for role, engines in cast.items()}
    return Experiment(
        arms=ARMS,
        trials=plan(ARMS, still, options.input_lens, options.seed),
        warmups=warmups((PLAIN_A,), cast, options.input_lens, options.num_warmups),
        prompt=handbook_prompts(options),
        summary=summary,
    )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """One arm against the other."""
    level, seed = options.confidence_level, options.seed
    return {"comparison": compare_arms(samples, "plain_b", "plain_a", confidence_level=level, seed=seed)}
