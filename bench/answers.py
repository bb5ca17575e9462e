"""Measures how much answers to one prompt differ, and whether the run's noise explains it.

Texts are not compared directly: even at temperature 0, a cold and a cached prefill round differently, near-ties flip,
and answers sometimes differ on a single plain engine. Instead, the test compares the highest log-probabilities of each
token, up to where the texts diverge, between a plain engine and the engine that read KV stored by another. The noise
floor is how much the plain engine differs from itself, cold against own-warm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.arms import COLD, CROSS_READ, OWN_WARM
from bench.sample import Sample, TokenRow

TOP = 5  # most likely candidates that are compared for each token
STATED = 3  # documents whose differences are listed in a verdict
MARGIN = 2  # the largest of n differences often exceeds the largest of n others, but hardly ever by a factor of two
RESOLUTION = 1e-4  # nats: rounding in float32 causes about a tenth of this, a change of one pixel about ten times this
NEAR_TIE = 0.5  # nats; two candidates that are closer are a near-tie


def needle(nonce: str) -> str:
    """The secret code of the document with this nonce: four digits."""
    return str(int(nonce, 16) % 9000 + 1000)


def compare_answers(samples: Sequence[Sample], prefix: str = "") -> dict[str, Any]:
    """The verdict on all documents of the samples; `prefix` is prepended to the arms' names."""
    names = [f"{prefix}{arm.name}" for arm in (COLD, OWN_WARM, CROSS_READ)]
    whole, left_out = list[dict[str, Any]](), dict[int, str]()
    for number in sorted({s.document for s in samples}):
        by_arm = {s.arm: s for s in samples if s.document == number and s.arm in names}
        if reasons := [f"{s.arm}: {s.reason}" for s in by_arm.values() if not s.valid]:
            left_out[number] = reasons[0]
        elif len(by_arm) < len(names):
            left_out[number] = "which was not sent every way"
        else:
            whole.append(compare_document(*(by_arm[name] for name in names)))
    return verdict(whole, left_out)


def verdict(documents: Sequence[Mapping[str, Any]], left_out: Mapping[int, str] | None = None) -> dict[str, Any]:
    """The verdict: `same`, `different`, or `no claim` if nothing differs but not every document was compared.

    `left_out` maps documents that were not compared to the reason. The noise floor is MARGIN times the run's largest
    noise, and at least RESOLUTION.
    """
    left_out = left_out or {}
    noise = max((d["noise"] for d in documents), default=None)
    floor = None if noise is None else max(RESOLUTION, MARGIN * noise)
    if wrong := [why for d in documents if (why := _unexplained(d, floor or 0.0))]:
        more = f"; and {len(wrong) - STATED} more" if len(wrong) > STATED else ""
        found, why = "different", "; ".join(wrong[:STATED]) + more
    else:
        why = _unproven(documents, left_out, floor)
        found = "no claim" if why else "same"
    return {
        "verdict": found,
        "why": why,
        "agrees": found == "same",
        "noise": _as_json(noise),
        "floor": _as_json(floor),
        "worst": _as_json(max((d["cross"] for d in documents), default=None)),
        "n": len(documents),
        "left_out": len(left_out),
        "needles_asked": sum(d["needle"]["plain"] for d in documents),
        "needles_lost": [d["document"] for d in documents if _lost_needle(d)],
        "documents": [{**d, "noise": _as_json(d["noise"]), "cross": _as_json(d["cross"])} for d in documents],
    }


def compare_document(cold: Sample, warm: Sample, cross: Sample) -> dict[str, Any]:
    """Compares three replies to one prompt: the cross-read with the plain reply that shares more tokens with it."""
    code = needle(cold.nonce)
    plain = min((cold, warm), key=lambda reply: (-len(_common(reply, cross)), difference(reply, cross)))
    return {
        "document": cold.document,
        "noise": difference(cold, warm),
        "cross": difference(plain, cross),
        "tokens": len(_common(plain, cross)),
        "cached_tokens": cross.cached_tokens,
        "prompt_tokens": cross.prompt_tokens,
        "same_text": cross.text == plain.text,
        "same_text_plain": warm.text == cold.text,
        "divergence": divergence(plain, cross),
        "needle": {"plain": all(code in (s.text or "") for s in (cold, warm)), "cross": code in (cross.text or "")},
    }


def difference(reference: Sample, other: Sample) -> float:
    """The largest difference of log-probabilities, in nats, up to where the texts diverge.

    It covers the five best candidates of each answer at each token. It is infinite if an answer has no candidates,
    because none were reported, or because corrupt KV made their values NaN.
    """
    return max((_apart(ours.best, theirs.best) for ours, theirs in _common(reference, other)), default=math.inf)


def nearest(ones: Sequence[Sample], others: Sequence[Sample]) -> float:
    """The smallest difference of any pair, in nats; infinite if nothing was measured."""
    return min((difference(one, other) for one in ones for other in others), default=math.inf)


def divergence(reference: Sample, other: Sample) -> dict[str, Any] | None:
    """Where two answers diverge: the index of the token, and by how many nats the reference preferred its own token.

    A small gap is a near-tie, which rounding alone may flip. None if one answer is a prefix of the other, or if the
    reference has no candidates.
    """
    place = len(common := _common(reference, other)) - 1
    if place < 0 or not (ours := common[place][0]).best or ours.token == common[place][1].token:
        return None
    gap = _logprob(ours.best, ours.token) - _logprob(ours.best, common[place][1].token)
    return {"token": place, "gap": gap, "near_tie": gap < NEAR_TIE}


def _common(reference: Sample, other: Sample) -> Sequence[tuple[TokenRow, TokenRow]]:
    """The pairs of tokens up to and including the first pair that differs."""
    pairs = list(zip(reference.logprobs, other.logprobs, strict=False))
    parted = next((place for place, (ours, theirs) in enumerate(pairs) if ours.token != theirs.token), len(pairs))
    return pairs[: parted + 1]


def _apart(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    if not ours or not theirs:
        return math.inf
    best = {token for each in (ours, theirs) for token in sorted(each, key=each.__getitem__, reverse=True)[:TOP]}
    return max(abs(_logprob(ours, token) - _logprob(theirs, token)) for token in best)


def _logprob(candidates: Mapping[str, float], token: str) -> float:
    """The token's log-probability, or its upper bound if the token is not among the candidates."""
    return candidates.get(token, min(candidates.values()))


def _unexplained(found: Mapping[str, Any], floor: float) -> str:
    """The differences in one document that noise does not explain, in words; empty if there are none."""
    flaws = []
    if math.isfinite(floor) and found["cross"] > floor:
        far = f"{found['cross']:.3g} nats from the plain engine's" if math.isfinite(found["cross"]) else "no numbers"
        flaws.append(f"log-probabilities are {far}")
    parted = found["divergence"]
    if parted and not parted["near_tie"] and parted["gap"] > floor:
        flaws.append(f"its text parts at token {parted['token']}, which was no near-tie")
    if _lost_needle(found):
        flaws.append("the needle that the plain engine finds is not found")
    return f"document {found['document']}: {', '.join(flaws)}" if flaws else ""


def _lost_needle(found: Mapping[str, Any]) -> bool:
    """Whether the cross-read missed a needle that the plain engine found both cold and own-warm."""
    return found["needle"]["plain"] and not found["needle"]["cross"]


def _unproven(documents: Sequence[Any], left_out: Mapping[int, str], floor: float | None) -> str:
    """Why there can be no claim; empty if there can."""
    if left_out:
        number, why = next(iter(left_out.items()))
        several = f"{len(left_out)} of {len(documents) + len(left_out)} documents left out"
        return f"{several}, the first for this: document {number}, {why}"
    if floor is None:
        return "no document was compared"
    return "" if math.isfinite(floor) else "the plain engine's own replies have no log-probabilities to compare"


def _as_json(value: float | None) -> float | str | None:
    """Replaces infinity, which JSON does not have, with a word."""
    return "infinite" if value is not None and math.isinf(value) else value
