"""A question put to the engines: what is sent, and what is made of the samples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.arms import Arm
from bench.measure import MeasureContext, PromptOf, measure_document
from bench.options import Options
from bench.plan import Trial, WorkUnit
from bench.sample import Sample
from bench.sample_warnings import sample_warnings


@dataclass(frozen=True, slots=True)
class Phase:
    """Units to measure, and the warm-up before the first of them."""

    units: tuple[WorkUnit, ...] = ()
    warmups: tuple[Trial, ...] = ()


def no_next_phase(_: Sequence[Sample]) -> Phase:
    """What was planned is all."""
    return Phase()


OnProgressLine = Callable[[str], object]  # a line of progress
MeasureUnit = Callable[
    [Any, PromptOf, MeasureContext, float], AsyncIterator[Sample]
]  # of one unit, in a run that began then
Summarize = Callable[[Sequence[Sample], Options], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """Units, the prompt that they are sent with, the warm-up before them, and the summary of their samples."""

    arms: tuple[Arm, ...]  # in the order in which tables list them
    trials: tuple[WorkUnit, ...]
    warmups: tuple[Trial, ...]
    prompt: PromptOf
    summary: Summarize
    more: Callable[[Sequence[Sample]], Phase] = no_next_phase  # what depends on what the first samples found
    foreseen: tuple[WorkUnit, ...] = ()  # about what `more` will be, for the estimate of the time left
    measure: MeasureUnit = measure_document
    caveats: Callable[[Sequence[Sample]], Sequence[str]] = sample_warnings
    survey: Callable[[OnProgressLine], Awaitable[Experiment]] | None = (
        None  # looks at what is not asked of engines, after the warm-up
    )
