"""Does sharing pay off? Every document through every arm, and the cross-read against the cold one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, LADDER, OTHER_INSTANCE
from bench.comparison import as_json, compare, paired
from bench.plan import Cast, plan, warmups
from bench.sample import Sample
from bench.statistics import interval
from bench.study import QUESTION, Options, Study
from engines.document import HANDBOOK, read_document
from engines.prompt import Prompt


def study(options: Options, cast: Cast) -> Study:
    """The arena's four engines."""
    return Study(
        arms=LADDER,
        trials=plan(LADDER, cast, options.input_lens, options.seed),
        warmups=warmups((COLD, FIRST_SIGHT, CROSS_READ), cast, options.input_lens, options.num_warmups),
        prompt=prompts(options),
        summary=summary,
    )


def prompts(options: Options) -> Callable[[str], Prompt]:
    """The handbook after a nonce; the answer always has `output_len` tokens."""
    handbook = read_document(HANDBOOK)
    return lambda nonce: Prompt(QUESTION, handbook, nonce, options.output_len, ignore_eos=True)


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The claim, and every other arm beside the cold one."""
    others = [arm.name for arm in LADDER if arm is not COLD]
    return {
        "comparison": compare(
            samples,
            CROSS_READ.name,
            COLD.name,
            noise=(OTHER_INSTANCE.name, COLD.name),
            confidence_level=options.confidence_level,
            seed=options.seed,
        ),
        "ladder": rungs(samples, others, COLD.name, options),
    }


def rungs(samples: Sequence[Sample], arms: Sequence[str], over: str, options: Options) -> Mapping[str, Any]:
    """Each of `arms` beside the one that it is held against: how many times sooner, and what it saves."""
    return {name: _rung(samples, name, over, options) for name in arms}


def _rung(samples: Sequence[Sample], of: str, over: str, options: Options) -> Mapping[str, Any]:
    level, seed = options.confidence_level, options.seed
    pairs = paired(samples, of, over)
    return {
        "speedup": as_json(interval([slow / fast for fast, slow in pairs], level, seed), level),
        "saved_ms": as_json(interval([slow - fast for fast, slow in pairs], level, seed), level),
    }
