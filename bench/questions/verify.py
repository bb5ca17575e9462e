"""Does the fast path give the right answer? The text documents of `bench verify`, and its overall verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.answers import compare_answers, needle
from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, OWN_WARM
from bench.experiment import Experiment
from bench.measure import PromptOf
from bench.media_arms import media_trials, media_warmups
from bench.media_prompts import CANDIDATES, wanted_modalities
from bench.options import Options
from bench.plan import EngineRoles, plan, warmups
from bench.questions.verify_media import judge_media, verify_arms
from bench.result import Result
from bench.sample import Sample
from client.documents import HANDBOOK, read_document
from client.prompt import Prompt

ARMS = (COLD, OWN_WARM, FIRST_SIGHT, CROSS_READ)
QUESTION = "What is the secret code of this document?"
CLOSING = 1600  # characters after the needle; more than a chunk, so that the needle is loaded and not computed


def study(options: Options, roles: EngineRoles) -> Experiment:
    """Sends each document twice to a plain engine, then to both lmcache engines; then as many of each modality."""
    text = plan(ARMS, roles, options.input_lens, options.seed)
    warm = warmups((COLD, FIRST_SIGHT, CROSS_READ), roles, options.input_lens, options.num_warmups)
    media = {modality: verify_arms(modality, options.sizes) for modality in _modalities(options)}
    return Experiment(
        arms=(*ARMS, *(arm for of_modality in media.values() for arm in of_modality)),
        units=(*text, *media_trials(media, roles, options, first=len(text))),
        warmups=(*warm, *media_warmups(media, roles, options)),
        prompt=prompts(options),
        summary=summary,
    )


def prompts(options: Options) -> PromptOf:
    """A function that makes a prompt: the handbook, a code unique to the document, and the handbook's end again."""
    handbook = read_document(HANDBOOK)

    def with_needle(nonce: str) -> Prompt:
        appendix = f"\n\nThe secret code of this document is {needle(nonce)}.\n\n{handbook[-CLOSING:]}"
        return Prompt(QUESTION, handbook, nonce, options.output_len, top_logprobs=CANDIDATES, appendix=appendix)

    return with_needle


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """The verdicts on text and on each modality; `agrees` is true if all of them agree and no modality was refused."""
    text = compare_answers([s for s in samples if not s.modality])
    media = {modality: judge_media(samples, modality, options.sizes) for modality in _modalities(options)}
    agrees = text["agrees"] and all(found["agrees"] for found in media.values()) and not options.refused
    return {
        "verify": {**text, "text_agrees": text["agrees"], "agrees": agrees, "media": media},
        "refused": dict(options.refused),
    }


def holds(result: Result) -> bool:
    """Whether noise explains every difference."""
    return bool(result.verify.agrees)


def _modalities(options: Options) -> tuple[str, ...]:
    """The modalities to test; empty if none is named."""
    return wanted_modalities(options.modality, options.refused) if options.modality else ()
