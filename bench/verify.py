"""Does the fast path give the right answer?

Texts are not the test: at temperature 0 a cold and a cached prefill round differently, near-ties flip, and answers
differ now and then on one plain engine too. The test is the best log-probabilities of the first token on the engine
that read another's KV, beside the noise floor: how far one plain engine differs from itself, cold against own-warm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, OWN_WARM
from bench.media import CANDIDATES
from bench.plan import Cast, plan, warmups
from bench.sample import Sample
from bench.study import Options, Study
from engines.document import HANDBOOK, read_document
from engines.prompt import Prompt

ARMS = (COLD, OWN_WARM, FIRST_SIGHT, CROSS_READ)
TOP = 5
RESOLUTION = 1e-4  # nats: rounding alone moves float32 by a tenth of it, and one pixel's change by ten times as much
NEAR_TIE = 0.5  # nats between two candidates
QUESTION = "What is the secret code of this document?"
CLOSING = 1600  # characters after the needle, more than a chunk: so it is read, and not computed


def study(options: Options, cast: Cast) -> Study:
    """A plain engine twice, and a document that crosses over; the same prompt, with a needle in it, to all."""
    return Study(
        arms=ARMS,
        trials=plan(ARMS, cast, options.input_lens, options.seed),
        warmups=warmups((COLD, FIRST_SIGHT, CROSS_READ), cast, options.input_lens, options.num_warmups),
        prompt=prompts(options),
        summary=summary,
    )


def prompts(options: Options) -> Callable[[str], Prompt]:
    """The handbook, a code that only this document has, and the handbook's end again."""
    handbook = read_document(HANDBOOK)

    def with_needle(nonce: str) -> Prompt:
        appendix = f"\n\nThe secret code of this document is {needle(nonce)}.\n\n{handbook[-CLOSING:]}"
        return Prompt(QUESTION, handbook, nonce, options.output_len, top_logprobs=CANDIDATES, appendix=appendix)

    return with_needle


def needle(nonce: str) -> str:
    """Four digits."""
    return str(int(nonce, 16) % 9000 + 1000)


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:  # noqa: ARG001
    """Every document whose four replies count, and whether noise explains the cross-reads."""
    return {"verify": compared(samples)}


def compared(samples: Sequence[Sample], prefix: str = "") -> dict[str, Any]:
    """The verdict on all documents of these samples, whose arms may have a prefix to their names."""
    by_arm = {(s.document, s.arm): s for s in samples if s.valid}
    names = [f"{prefix}{arm.name}" for arm in (COLD, OWN_WARM, CROSS_READ)]
    documents = [
        document(*(by_arm[number, name] for name in names))
        for number in sorted({s.document for s in samples})
        if all((number, name) in by_arm for name in names)
    ]
    left_out = len({s.document for s in samples}) - len(documents)
    return verdict(documents, left_out)


def verdict(documents: Sequence[Mapping[str, Any]], left_out: int = 0) -> dict[str, Any]:
    """`agrees` when no cross-read is further off than the run's noise floor, and finds every needle that plain found.

    The floor is RESOLUTION at least.

    A needle is asked of a cross-read only where the plain engine found it cold and own-warm alike.
    """
    floor = max((max(RESOLUTION, d["noise"]) for d in documents), default=None)
    worst = max((d["cross"] for d in documents), default=None)
    lost = [d["document"] for d in documents if d["needle"]["plain"] and not d["needle"]["cross"]]
    explained = floor is not None and worst is not None and worst <= floor < math.inf
    agrees = explained and not lost and not left_out
    return {
        "agrees": agrees,
        "floor": _finite(floor),
        "worst": _finite(worst),
        "n": len(documents),
        "left_out": left_out,
        "needles_asked": sum(d["needle"]["plain"] for d in documents),
        "needles_lost": lost,
        "documents": [{**d, "noise": _finite(d["noise"]), "cross": _finite(d["cross"])} for d in documents],
    }


def document(cold: Sample, warm: Sample, cross: Sample) -> dict[str, Any]:
    """Three replies to one prompt. Differences in nats, over the five best first tokens of the plain reply."""
    code = needle(cold.nonce)
    return {
        "document": cold.document,
        "noise": difference(cold, warm),
        "cross": min(difference(plain, cross) for plain in (cold, warm)),
        "cached_tokens": cross.cached_tokens,
        "prompt_tokens": cross.prompt_tokens,
        "same_text": cross.text == cold.text,
        "same_text_plain": warm.text == cold.text,
        "divergence": divergence(cold, cross),
        "needle": {"plain": all(code in (s.text or "") for s in (cold, warm)), "cross": code in (cross.text or "")},
    }


def difference(reference: Sample, other: Sample) -> float:
    """The largest, in nats; infinite when one of the reference's five best is not among the other's candidates."""
    if not reference.logprobs or not other.logprobs:
        return math.inf
    best, others = _best(reference.logprobs[0].best), other.logprobs[0].best
    return max((abs(value - others.get(token, -math.inf)) for token, value in best.items()), default=math.inf)


def nearest(ones: Sequence[Sample], others: Sequence[Sample]) -> float:
    """The smallest difference, in nats; infinite where nothing was measured."""
    return min((difference(one, other) for one in ones for other in others), default=math.inf)


def divergence(reference: Sample, other: Sample) -> dict[str, Any] | None:
    """Where two answers part: the place of the token, and by how many nats the reference preferred its own.

    A small gap is a near-tie, which rounding alone may flip. None when one answer is the other's beginning.
    """
    pairs = list(zip(reference.logprobs, other.logprobs, strict=False))
    place = len(list(takewhile(lambda pair: pair[0].token == pair[1].token, pairs)))
    if place == len(pairs):
        return None
    ours, theirs = pairs[place]
    gap = ours.best.get(ours.token, math.inf) - ours.best.get(theirs.token, -math.inf)
    return {"token": place, "gap": _finite(gap), "near_tie": gap < NEAR_TIE}


def _best(candidates: Mapping[str, float]) -> Mapping[str, float]:
    names = sorted(candidates, key=lambda token: candidates[token], reverse=True)[:TOP]
    return {name: candidates[name] for name in names}


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity; a word is better than an invalid file."""
    return "infinite" if value is not None and math.isinf(value) else value
