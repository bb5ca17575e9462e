"""What one benchmark command sends to the engines, and what it calculates from the samples."""

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
MeasureUnit = Callable[[Any, PromptOf, MeasureContext, float], AsyncIterator[Sample]]  # the float is the run's start
Summarize = Callable[[Sequence[Sample], Options], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Phase:
    """Units to measure, and the warm-up before the first of them."""

    units: tuple[WorkUnit, ...] = ()
    warmups: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one command measures. Most questions need only the first five fields."""

    arms: tuple[Arm, ...]  # in the order in which tables list them
    units: tuple[WorkUnit, ...]
    warmups: tuple[Trial, ...]
    prompt: PromptOf
    summary: Summarize
    measure: MeasureUnit = measure_document
    warnings: Callable[[Sequence[Sample]], Sequence[str]] = sample_warnings
    before_first: Callable[[OnProgressLine], Awaitable[None]] | None = None  # runs after the warm-up
    next_phase: Callable[[Sequence[Sample]], Phase] = lambda _: Phase()  # units that depend on earlier samples
    expected_units: tuple[WorkUnit, ...] = ()  # likely units of `next_phase`, for the estimate of the time left


def document_experiment(
    options: Options,
    roles: EngineRoles,
    arms: tuple[Arm, ...],
    warm_arms: Sequence[Arm],
    summary: Summarize,
    *,
    swap: bool = True,
) -> Experiment:
    """Sends the handbook through all arms, once for each of `input_lens`.

    With `swap`, engines swap roles half-way. The warm-up always swaps roles, so that it reaches every engine.
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
    """A function that makes the handbook prompt for a nonce; with `ignore_eos` every answer has `output_len` tokens."""
    handbook = read_document(HANDBOOK)
    return lambda nonce: Prompt(QUESTION, handbook, nonce, options.output_len, ignore_eos=ignore_eos)
