"""Does sharing pay off with images, videos and sounds, and are they ever mistaken for each other?

Each modality is measured separately: documents of media and a short text go through all arms of `bench.media_arms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any

from bench.answers import RESOLUTION, difference
from bench.arms import Arm
from bench.experiment import Experiment
from bench.measure import MeasureContext
from bench.media_arms import media_arms, media_trials, media_warmups, named_by_modality, reaches_media
from bench.media_prompts import MODALITIES, QUESTION, Sizes, media_maker, media_question, wanted_modalities
from bench.options import Options
from bench.plan import EngineRoles
from bench.result import Result
from bench.sample import Sample
from bench.speedup import arm_speedups, compare_arms, interval_json, paired
from bench.statistics import interval
from client.prompt import Prompt
from config.errors import EngineRefused, RefusalKind
from config.topology import Engine

BESIDE_CLAIM = ("own_warm", "first_sight", "other_question")  # arms whose speed-up over cold is also reported
COMPARED = ("other_media", "plain_other_media", "own_answer")  # arms whose answers show which media an answer is about
QUERIES = ("first_sight", "cross_read", "other_question", "other_media")


def study(options: Options, roles: EngineRoles) -> Experiment:
    """The experiment on the arena's four engines, with one document per modality for each of `input_lens`."""
    wanted = wanted_modalities(options.modality, options.refused)
    arms = {modality: arms_of(modality, options.sizes) for modality in wanted}
    return Experiment(
        arms=tuple(arm for of_modality in arms.values() for arm in of_modality),
        units=media_trials(arms, roles, options),
        warmups=media_warmups(arms, roles, options),
        prompt=lambda nonce: Prompt(QUESTION, nonce=nonce, max_tokens=options.output_len, ignore_eos=True),
        summary=summary,
    )


def arms_of(modality: str, sizes: Sizes) -> tuple[Arm, ...]:
    """All arms of one modality, with its name as their prefix."""
    return named_by_modality(modality, media_arms(media_maker(modality, sizes)))


async def refused(options: Options, engine: Engine, bench: MeasureContext) -> Mapping[str, str]:
    """Sends one prompt of each modality to the engine; returns the error messages for those that the model refuses.

    Raises EngineError if the engine does not answer, or fails in another way.
    """
    found = {}
    for modality in options.modality or MODALITIES:
        prompt = await bench.fit_prompt(engine, Prompt(QUESTION, nonce=bench.nonce(), max_tokens=2, ignore_eos=True), 0)
        try:
            await bench.ask(engine, media_question(media_maker(modality, options.sizes))(prompt))
        except EngineRefused as exc:
            if exc.kind is not RefusalKind.MEDIA:
                raise
            found[modality] = str(exc)
    return found


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """Each modality's claim and mix-up check, and the table of hits; `holds` is true if every modality passes."""
    measured = wanted_modalities(options.modality, options.refused)
    modalities = {modality: _modality(samples, modality, options) for modality in measured}
    claims = all(each["comparison"]["verdict"] != "no claim" for each in modalities.values())
    kept_apart = all(each["canary"]["holds"] for each in modalities.values())
    missed = options.modality and options.refused
    return {
        "input_len": max((s.prompt_tokens or 0 for s in samples), default=0),
        "modalities": modalities,
        "refused": dict(options.refused),
        "holds": bool(modalities) and claims and kept_apart and not missed,
        "queries": [_query(samples, modality, arm) for modality in modalities for arm in QUERIES],
    }


def holds(result: Result) -> bool:
    """Whether every modality makes a claim and mixed up no media."""
    return bool(result.holds)


def media_mixup_check(samples: Sequence[Sample], modality: str) -> dict[str, Any]:
    """How often other media were kept apart or mixed up; `untold` counts documents whose answers do not show which.

    A document counts only if its own media shared KV: if nothing is shared, nothing can be mixed up.
    """
    arms = {
        name: {s.document: s for s in samples if s.arm == f"{modality}_{name}"} for name in (*COMPARED, "cross_read")
    }
    asked = arms["other_media"]
    origin = {number: _answer_origin(*(arms[name].get(number) for name in COMPARED)) for number in asked}
    failed = [number for number, read in asked.items() if is_mixed_up(read) or origin[number] is AnswerOrigin.FIRST]
    shared = {number for number, read in arms["cross_read"].items() if read.valid}
    held = [number for number, read in asked.items() if read.valid and number in shared and number not in failed]
    return {
        "held": len(held),
        "failed": failed,
        "unproven": len(asked) - len(held) - len(failed),
        "untold": sum(origin[number] is AnswerOrigin.UNKNOWN for number in held),
        "holds": bool(held) and not failed,
    }


def is_mixed_up(sample: Sample) -> bool:
    """Whether tokens of media that were never sent before came from a cache."""
    before, cached = sample.before_media_tokens, sample.cached_tokens
    return before is not None and cached is not None and reaches_media(cached, before)


class AnswerOrigin(StrEnum):
    """Which media an answer is about: the ones that were sent with it, or the document's first ones."""

    SENT = "sent"
    FIRST = "first"
    UNKNOWN = "unknown"


def _answer_origin(read: Sample | None, plain: Sample | None, first: Sample | None) -> AnswerOrigin:
    """The media whose plain answer is nearer to `read`; UNKNOWN if the two plain answers are too similar to decide."""
    if not (read and plain and first and read.logprobs and plain.logprobs and first.logprobs):
        return AnswerOrigin.UNKNOWN
    to_sent, to_first = difference(plain, read), difference(first, read)
    if difference(plain, first) <= 2 * max(RESOLUTION, min(to_sent, to_first)):
        return AnswerOrigin.UNKNOWN
    return AnswerOrigin.SENT if to_sent < to_first else AnswerOrigin.FIRST


def _modality(samples: Sequence[Sample], modality: str, options: Options) -> Mapping[str, Any]:
    level, seed = options.confidence_level, options.seed
    of, over, processed = (f"{modality}_{name}" for name in ("cross_read", "cold", "processor_warm"))
    mine = [s for s in samples if s.modality == modality]
    ratios = [warm / cold for warm, cold in paired(mine, processed, over)]
    return {
        "media_tokens": _median(s.media_tokens for s in mine),
        "text_tokens": _median(s.text_tokens for s in mine),
        "comparison": compare_arms(mine, of, over, confidence_level=level, seed=seed),
        "ladder": arm_speedups(mine, [f"{modality}_{name}" for name in BESIDE_CLAIM], over, options),
        "processor_warm_ratio": interval_json(interval(ratios, level, seed), level),
        "canary": media_mixup_check(mine, modality),
    }


def _query(samples: Sequence[Sample], modality: str, arm: str) -> Mapping[str, Any]:
    """Tokens and hits of all answers, valid or not, so that mix-ups show here too."""
    answered = [s for s in samples if s.arm == f"{modality}_{arm}" and s.prompt_tokens]
    total, hits = sum(s.prompt_tokens or 0 for s in answered), sum(s.cached_tokens or 0 for s in answered)
    split = [s.cached_tokens_details for s in answered if s.cached_tokens_details]
    return {
        "query": f"{modality}, {arm}",
        "n": len(answered),
        "total_tokens": total,
        "kv_hits": hits,
        "kv_hits_shared": sum(each["shared"] for each in split) if len(split) == len(answered) else None,
        "hit_rate_pct": 100 * hits / total if total else None,
    }


def _median(values: Iterable[int | None]) -> float | None:
    counted = [value for value in values if value is not None]
    return median(counted) if counted else None
