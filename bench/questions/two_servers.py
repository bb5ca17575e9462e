"""Any two servers: does the second start sooner on what the first has read?

Servers differ in speed, so the second one is held against itself: against a document that nobody has read. What the
first makes of a cold document stands beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.arms import Arm, EngineRole, always_valid, not_cached_if_reported, unchanged
from bench.experiment import Experiment
from bench.media_prompts import under_another_nonce
from bench.options import QUESTION, Options
from bench.plan import EngineRoles, plan, warmups
from bench.sample import Sample
from bench.sample_warnings import sample_warnings, source_unknown_warnings
from bench.speedup import arm_speedups, compare_arms
from client.documents import HANDBOOK, read_document
from client.prompt import Prompt

COLD = Arm("cold", EngineRole.PLAIN, not_cached_if_reported)
OTHER_COLD = Arm(
    "other_cold", EngineRole.OTHER, not_cached_if_reported, after="cold", variant=under_another_nonce(unchanged)
)
OTHER_INSTANCE = Arm("other_instance", EngineRole.OTHER, always_valid, after="cold", reads=True)
OWN_WARM = Arm("own_warm", EngineRole.OTHER, always_valid, after="other_instance")
ARMS = (COLD, OTHER_COLD, OTHER_INSTANCE, OWN_WARM)


def study(options: Options, cast: EngineRoles) -> Experiment:
    """The servers keep their roles; nothing is demanded of where the second one's tokens came from."""
    handbook = read_document(HANDBOOK)
    fixed = {role: (engines[0], engines[0]) for role, engines in cast.items()}
    return Experiment(
        arms=ARMS,
        trials=plan(ARMS, fixed, options.input_lens, options.seed),
        warmups=warmups((COLD, OTHER_INSTANCE), cast, options.input_lens, options.num_warmups),
        prompt=lambda nonce: Prompt(QUESTION, handbook, nonce, options.output_len),
        summary=summary,
        caveats=lambda samples: [*source_unknown_warnings(samples), *sample_warnings(samples)],
    )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The second server against itself; its cold start is what every arm is held against."""
    level, seed = options.confidence_level, options.seed
    of, over = OTHER_INSTANCE.name, OTHER_COLD.name
    return {
        "comparison": compare_arms(samples, of, over, confidence_level=level, seed=seed),
        "ladder": arm_speedups(samples, [arm.name for arm in ARMS if arm is not OTHER_COLD], over, options),
    }
