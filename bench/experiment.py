"""A question put to the engines: what is sent, and what is calculated from the samples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.arms import Arm
from bench.measure import MeasureContext, PromptOf, measure_document
from bench.options import QUESTION, Options
from bench.plan import EngineRoles, Trial, WorkUnit, plan, warmups
from bench.sample import Sample
from bench.sample_warnings import sample_warnings
from client.documents import HANDBOOK, read_document
from client.prompt import Prompt

OnProgressLine = Callable[[str], object]
MeasureUnit = Callable[[Any, PromptOf, MeasureContext, float], AsyncIterator[Sample]]  # the last is the run's start
Summarize = Callable[[Sequence[Sample], Options], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Phase:
    """Units to measure, and the warm-up before the first of them."""

    units: tuple[WorkUnit, ...] = ()
    warmups: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one command measures. All but the first five fields are for questions that measure in their own way."""

    arms: tuple[Arm, ...]  # in the order in which tables list them
    units: tuple[WorkUnit, ...]
    warmups: tuple[Trial, ...]
    prompt: PromptOf
    summary: Summarize
    measure: MeasureUnit = measure_document
    warnings: Callable[[Sequence[Sample]], Sequence[str]] = sample_warnings
    before_first: Callable[[OnProgressLine], Awaitable[None]] | None = None  # runs after the warm-up
    next_phase: Callable[[Sequence[Sample]], Phase] = lambda _: Phase()  # units that depend on the first samples
    expected_units: tuple[WorkUnit, ...] = ()  # a guess at `next_phase`, for the estimate of the time left


def document_experiment(
    options: Options,
    roles: EngineRoles,
    arms: tuple[Arm, ...],
    warm_arms: Sequence[Arm],
    summary: Summarize,
    *,
    swap: bool = True,
) -> Experiment:
    """The handbook once for each of `input_lens`, each time through all arms; `swap`: roles are swapped half-way.

    The warm-up always swaps roles, so that it reaches every engine.
    """
    planned = roles if swap else {role: (first, first) for role, (first, _) in roles.items()}
    return Experiment(
        arms=arms,
        units=plan(arms, planned, options.input_lens, options.seed),
        warmups=warmups(warm_arms, roles, options.input_lens, options.num_warmups),
        prompt=handbook_prompt(options),
        summary=summary,
    )


def handbook_prompt(options: Options, *, ignore_eos: bool = True) -> PromptOf:
    """The handbook after a nonce; with `ignore_eos` every answer has `output_len` tokens."""
    handbook = read_document(HANDBOOK)
    return lambda nonce: Prompt(QUESTION, handbook, nonce, options.output_len, ignore_eos=ignore_eos)
