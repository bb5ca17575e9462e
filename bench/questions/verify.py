"""Does the fast path give the right answer?

Texts are not the test: at temperature 0 a cold and a cached prefill round differently, near-ties flip, and answers
differ now and then on one plain engine too. The test is the best log-probabilities of each token, up to where texts
part, on the engine that read another's KV, beside the noise floor: how far one plain engine differs from itself, cold
against own-warm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, OWN_WARM
from bench.experiment import Experiment
from bench.media_prompts import CANDIDATES
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.sample import Sample, TokenRow
from client.documents import HANDBOOK, read_document
from client.prompt import Prompt

ARMS = (COLD, OWN_WARM, FIRST_SIGHT, CROSS_READ)
TOP = 5
STATED = 3  # documents by what is wrong with them
MARGIN = 2  # the largest of some differences is often above that of as many like them, and hardly ever twice it
RESOLUTION = 1e-4  # nats: rounding alone moves float32 by a tenth of it, and one pixel's change by ten times as much
NEAR_TIE = 0.5  # nats between two candidates
QUESTION = "What is the secret code of this document?"
CLOSING = 1600  # characters after the needle, more than a chunk: so it is read, and not computed


def study(options: Options, cast: EngineRoles) -> Experiment:
    """A plain engine twice, and a document that crosses over; the same prompt, with a needle in it, to all."""
    return Experiment(
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
    names = [f"{prefix}{arm.name}" for arm in (COLD, OWN_WARM, CROSS_READ)]
    whole, left_out = list[dict[str, Any]](), dict[int, str]()
    for number in sorted({s.document for s in samples}):
        by_arm = {s.arm: s for s in samples if s.document == number and s.arm in names}
        if faults := [f"{s.arm}: {s.reason}" for s in by_arm.values() if not s.valid]:
            left_out[number] = faults[0]
        elif len(by_arm) < len(names):
            left_out[number] = "which was not sent every way"
        else:
            whole.append(document(*(by_arm[name] for name in names)))
    return verdict(whole, left_out)


def verdict(documents: Sequence[Mapping[str, Any]], left_out: Mapping[int, str] | None = None) -> dict[str, Any]:
    """`same`, `different`, or `no claim` when nothing is different and not all is shown; `agrees` when `same`.

    `left_out` gives why a document is. The floor is MARGIN times the run's largest noise, and RESOLUTION at least.
    """
    left_out = left_out or {}
    noise = max((d["noise"] for d in documents), default=None)
    floor = None if noise is None else max(RESOLUTION, MARGIN * noise)
    if wrong := [why for d in documents if (why := _wrong(d, floor or 0.0))]:
        more = f"; and {len(wrong) - STATED} more" if len(wrong) > STATED else ""
        said, why = "different", "; ".join(wrong[:STATED]) + more
    else:
        why = _unproven(documents, left_out, floor)
        said = "no claim" if why else "same"
    return {
        "verdict": said,
        "why": why,
        "agrees": said == "same",
        "noise": _finite(noise),
        "floor": _finite(floor),
        "worst": _finite(max((d["cross"] for d in documents), default=None)),
        "n": len(documents),
        "left_out": len(left_out),
        "needles_asked": sum(d["needle"]["plain"] for d in documents),
        "needles_lost": [d["document"] for d in documents if _lost(d)],
        "documents": [{**d, "noise": _finite(d["noise"]), "cross": _finite(d["cross"])} for d in documents],
    }


def document(cold: Sample, warm: Sample, cross: Sample) -> dict[str, Any]:
    """Three replies to one prompt. Differences in nats, the cross-read's to the plain reply that it follows longest."""
    code = needle(cold.nonce)
    plain = min((cold, warm), key=lambda reply: (-len(_alike(reply, cross)), difference(reply, cross)))
    return {
        "document": cold.document,
        "noise": difference(cold, warm),
        "cross": difference(plain, cross),
        "tokens": len(_alike(plain, cross)),
        "cached_tokens": cross.cached_tokens,
        "prompt_tokens": cross.prompt_tokens,
        "same_text": cross.text == plain.text,
        "same_text_plain": warm.text == cold.text,
        "divergence": divergence(plain, cross),
        "needle": {"plain": all(code in (s.text or "") for s in (cold, warm)), "cross": code in (cross.text or "")},
    }


def difference(reference: Sample, other: Sample) -> float:
    """The largest, in nats, over the five best candidates of either for each token up to where the texts part.

    Infinite where one has no candidates: nothing was reported, or ruined KV made them no numbers.
    """
    return max((_apart(ours.best, theirs.best) for ours, theirs in _alike(reference, other)), default=math.inf)


def nearest(ones: Sequence[Sample], others: Sequence[Sample]) -> float:
    """The smallest difference, in nats; infinite where nothing was measured."""
    return min((difference(one, other) for one in ones for other in others), default=math.inf)


def divergence(reference: Sample, other: Sample) -> dict[str, Any] | None:
    """Where two answers part: the place of the token, and by how many nats the reference preferred its own.

    A small gap is a near-tie, which rounding alone may flip. None when one answer is the other's beginning, or the
    reference has no candidates.
    """
    place = len(alike := _alike(reference, other)) - 1
    if place < 0 or not (ours := alike[place][0]).best or ours.token == alike[place][1].token:
        return None
    gap = _of(ours.best, ours.token) - _of(ours.best, alike[place][1].token)
    return {"token": place, "gap": gap, "near_tie": gap < NEAR_TIE}


def _alike(reference: Sample, other: Sample) -> Sequence[tuple[TokenRow, TokenRow]]:
    """The tokens of two answers that came after the same ones: up to the first that differs, that one with them."""
    pairs = list(zip(reference.logprobs, other.logprobs, strict=False))
    parted = next((place for place, (ours, theirs) in enumerate(pairs) if ours.token != theirs.token), len(pairs))
    return pairs[: parted + 1]


def _apart(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    if not ours or not theirs:
        return math.inf
    return max(abs(_of(ours, token) - _of(theirs, token)) for token in {*_best(ours), *_best(theirs)})


def _of(candidates: Mapping[str, float], token: str) -> float:
    """The token's own, or the most that it can be when it is not among the candidates."""
    return candidates.get(token, min(candidates.values()))


def _best(candidates: Mapping[str, float]) -> Sequence[str]:
    return sorted(candidates, key=lambda token: candidates[token], reverse=True)[:TOP]


def _wrong(found: Mapping[str, Any], floor: float) -> str:
    """What noise does not explain in one document, in words."""
    flaws = []
    if math.isfinite(floor) and found["cross"] > floor:
        far = f"{found['cross']:.3g} nats from the plain engine's" if math.isfinite(found["cross"]) else "no numbers"
        flaws.append(f"log-probabilities are {far}")
    parted = found["divergence"]
    if parted and not parted["near_tie"] and parted["gap"] > floor:
        flaws.append(f"its text parts at token {parted['token']}, which was no near-tie")
    if _lost(found):
        flaws.append("the needle that the plain engine finds is not found")
    return f"document {found['document']}: {', '.join(flaws)}" if flaws else ""


def _lost(found: Mapping[str, Any]) -> bool:
    """A needle is asked of a cross-read only where the plain engine found it cold and own-warm alike."""
    return found["needle"]["plain"] and not found["needle"]["cross"]


def _unproven(documents: Sequence[Any], left_out: Mapping[int, str], floor: float | None) -> str:
    """Why nothing can be claimed; empty when it can."""
    if left_out:
        several = f"{len(left_out)} of {len(documents) + len(left_out)} documents left out"
        number, why = next(iter(left_out.items()))
        return f"{several}, the first for this: document {number}, {why}"
    if floor is None:
        return "no document was compared"
    return "" if math.isfinite(floor) else "the plain engine's own replies have no log-probabilities to compare"


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity; a word is better than an invalid file."""
    return "infinite" if value is not None and math.isinf(value) else value
