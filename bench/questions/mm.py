"""Does sharing pay off with pictures, films and sounds, and are they ever taken for each other?

Each modality by itself: a document of media and a short text goes through every arm of `bench.media_arms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any

from bench.arms import Arm
from bench.experiment import Experiment
from bench.measure import MeasureContext
from bench.media_arms import media_arms, named_by_modality, reaches_media
from bench.media_prompts import MODALITIES, QUESTION, Sizes, media_maker, media_question, wanted_modalities
from bench.options import Options
from bench.plan import EngineRoles, Trial, plan, warmups
from bench.questions.verify import RESOLUTION, difference
from bench.sample import Sample
from bench.speedup import arm_speedups, compare_arms, interval_json, paired
from bench.statistics import interval
from client.prompt import Prompt
from config.errors import EngineRefused, RefusalKind
from config.topology import Engine

WARMED_UP = ("cold", "first_sight", "cross_read")
BESIDE = ("own_warm", "first_sight", "other_question")  # of the claim, over cold
COMPARED = ("other_media", "plain_other_media", "own_answer")  # other media by the reader and by plain, and these
QUERIES = ("first_sight", "cross_read", "other_question", "other_media")


def study(options: Options, cast: EngineRoles) -> Experiment:
    """The arena's four engines; `input_lens` counts the documents of each modality."""
    arms = {
        modality: arms_of(modality, options.sizes) for modality in wanted_modalities(options.modality, options.refused)
    }
    return Experiment(
        arms=tuple(arm for each in arms.values() for arm in each),
        trials=trials(arms, cast, options),
        warmups=warming_up(arms, cast, options),
        prompt=lambda nonce: Prompt(QUESTION, nonce=nonce, max_tokens=options.output_len, ignore_eos=True),
        summary=summary,
    )


def arms_of(modality: str, sizes: Sizes) -> tuple[Arm, ...]:
    """All arms of one modality."""
    return named_by_modality(modality, media_arms(media_maker(modality, sizes)))


def trials(arms: Mapping[str, Sequence[Arm]], cast: EngineRoles, options: Options, first: int = 0) -> tuple[Trial, ...]:
    """As many documents of each modality as there are `input_lens`, one modality after the other."""
    lengths = [0] * len(options.input_lens)
    return tuple(
        trial
        for place, each in enumerate(arms.values())
        for trial in plan(each, cast, lengths, options.seed, first + place * len(lengths))
    )


def warming_up(arms: Mapping[str, Sequence[Arm]], cast: EngineRoles, options: Options) -> tuple[Trial, ...]:
    """Every engine computes, or loads, media of each modality."""
    return tuple(
        trial
        for modality, each in arms.items()
        for trial in warmups(_named(each, modality, WARMED_UP), cast, [0], options.num_warmups)
    )


async def refused(options: Options, engine: Engine, bench: MeasureContext) -> Mapping[str, str]:
    """Asks the engine about one of each modality, and gives its words for those that it does not take.

    Raises EngineError where it does not answer at all, or fails.
    """
    found = {}
    for modality in options.modality or MODALITIES:
        prompt = await bench.sized(engine, Prompt(QUESTION, nonce=bench.nonce(), max_tokens=2, ignore_eos=True), 0)
        try:
            await bench.ask(engine, media_question(media_maker(modality, options.sizes))(prompt))
        except EngineRefused as exc:
            if exc.kind is not RefusalKind.MEDIA:
                raise
            found[modality] = str(exc)
    return found


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """Each modality's claim and canary, and the table of hits; `holds` when all of them do."""
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


def media_mixup_check(samples: Sequence[Sample], modality: str) -> dict[str, Any]:
    """How often other media were kept apart, and how often not; `untold` where only cached tokens can tell.

    It counts only where equal media did share KV: where nothing is shared, nothing can be mixed up.
    """
    arms = {name: _of_arm(samples, f"{modality}_{name}") for name in (*COMPARED, "cross_read")}
    asked = arms["other_media"]
    whose = {number: _whose(*(arms[name].get(number) for name in COMPARED)) for number in asked}
    failed = [number for number, read in asked.items() if is_mixed_up(read) or whose[number] is AnswerOrigin.THE_OTHERS]
    shared = {number for number, read in arms["cross_read"].items() if read.valid}
    held = [number for number, read in asked.items() if read.valid and number in shared and number not in failed]
    return {
        "held": len(held),
        "failed": failed,
        "unproven": len(asked) - len(held) - len(failed),
        "untold": sum(whose[number] is AnswerOrigin.UNTOLD for number in held),
        "holds": bool(held) and not failed,
    }


def is_mixed_up(sample: Sample) -> bool:
    """Whether tokens of media that nobody had seen came from a cache."""
    before, cached = sample.before_media_tokens, sample.cached_tokens
    return before is not None and cached is not None and reaches_media(cached, before)


class AnswerOrigin(StrEnum):
    """What media an answer is about: those that were shown, the document's own, or nobody can tell."""

    ITS_OWN = "its own"
    THE_OTHERS = "the others"
    UNTOLD = "untold"


def _whose(read: Sample | None, plain: Sample | None, original: Sample | None) -> AnswerOrigin:
    """By which of the plain engine's two answers it is nearer to, where these are far enough apart for that."""
    if not (read and plain and original and read.logprobs and plain.logprobs and original.logprobs):
        return AnswerOrigin.UNTOLD
    own, others = difference(plain, read), difference(original, read)
    if difference(plain, original) <= 2 * max(RESOLUTION, min(own, others)):
        return AnswerOrigin.UNTOLD
    return AnswerOrigin.ITS_OWN if own < others else AnswerOrigin.THE_OTHERS


def _of_arm(samples: Sequence[Sample], name: str) -> Mapping[int, Sample]:
    return {s.document: s for s in samples if s.arm == name}


def _modality(samples: Sequence[Sample], modality: str, options: Options) -> Mapping[str, Any]:
    level, seed = options.confidence_level, options.seed
    of, over, processed = (f"{modality}_{name}" for name in ("cross_read", "cold", "processor_warm"))
    mine = [s for s in samples if s.modality == modality]
    ratios = [warm / cold for warm, cold in paired(mine, processed, over)]
    return {
        "media_tokens": _median(s.media_tokens for s in mine),
        "text_tokens": _median(s.text_tokens for s in mine),
        "comparison": compare_arms(mine, of, over, confidence_level=level, seed=seed),
        "ladder": arm_speedups(mine, [f"{modality}_{name}" for name in BESIDE], over, options),
        "processor_warm_ratio": interval_json(interval(ratios, level, seed), level),
        "canary": media_mixup_check(mine, modality),
    }


def _query(samples: Sequence[Sample], modality: str, arm: str) -> Mapping[str, Any]:
    """Tokens and hits of all answers, whether they count or not: a canary that failed must show here."""
    answered = [s for s in samples if s.arm == f"{modality}_{arm}" and s.prompt_tokens]
    total, hits = sum(s.prompt_tokens or 0 for s in answered), sum(s.cached_tokens or 0 for s in answered)
    told = [s.cached_tokens_details for s in answered if s.cached_tokens_details]
    rate = 100 * hits / total if total else None
    return {
        "query": f"{modality}, {arm}",
        "n": len(answered),
        "total_tokens": total,
        "kv_hits": hits,
        "kv_hits_shared": sum(each["shared"] for each in told) if len(told) == len(answered) else None,
        "hit_rate_pct": rate,
    }


def _median(values: Iterable[int | None]) -> float | None:
    counted = [value for value in values if value is not None]
    return median(counted) if counted else None


def _named(arms: Sequence[Arm], modality: str, names: Sequence[str]) -> tuple[Arm, ...]:
    return tuple(arm for arm in arms if arm.name.removeprefix(f"{modality}_") in names)
