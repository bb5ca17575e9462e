"""Any two servers: does the second start sooner on what the first has read?

Servers differ in speed, so the second one is held against itself: against a document that nobody has read. What the
first makes of a cold document stands beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.arms import Arm, Role, anything, as_it_is, not_warm
from bench.caveats import caveats, untold
from bench.comparison import compare
from bench.media import under_another_nonce
from bench.plan import Cast, plan, warmups
from bench.sample import Sample
from bench.study import QUESTION, Options, Study
from bench.ttft import rungs
from engines.document import HANDBOOK, read_document
from engines.prompt import Prompt

COLD = Arm("cold", Role.PLAIN, not_warm)
OTHER_COLD = Arm("other_cold", Role.OTHER, not_warm, after="cold", variant=under_another_nonce(as_it_is))
OTHER_INSTANCE = Arm("other_instance", Role.OTHER, anything, after="cold", reads=True)
OWN_WARM = Arm("own_warm", Role.OTHER, anything, after="other_instance")
ARMS = (COLD, OTHER_COLD, OTHER_INSTANCE, OWN_WARM)


def study(options: Options, cast: Cast) -> Study:
    """The servers keep their roles; nothing is demanded of where the second one's tokens came from."""
    handbook = read_document(HANDBOOK)
    fixed = {role: (engines[0], engines[0]) for role, engines in cast.items()}
    return Study(
        arms=ARMS,
        trials=plan(ARMS, fixed, options.input_lens, options.seed),
        warmups=warmups((COLD, OTHER_INSTANCE), cast, options.input_lens, options.num_warmups),
        prompt=lambda nonce: Prompt(QUESTION, handbook, nonce, options.output_len),
        summary=summary,
        caveats=lambda samples: [*untold(samples), *caveats(samples)],
    )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The second server against itself; its cold start is what every arm is held against."""
    level, seed = options.confidence_level, options.seed
    of, over = OTHER_INSTANCE.name, OTHER_COLD.name
    return {
        "comparison": compare(samples, of, over, confidence_level=level, seed=seed),
        "ladder": rungs(samples, [arm.name for arm in ARMS if arm is not OTHER_COLD], over, options),
    }
