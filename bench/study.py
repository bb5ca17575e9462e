"""A question put to the engines: what is sent, and what is made of the samples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.arms import Arm
from bench.caveats import caveats
from bench.media import Sizes
from bench.plan import Trial, Unit
from bench.run import Bench, PromptOf, one_document
from bench.sample import Sample

QUESTION = "What is this document about? Answer in one sentence."


class Options(BaseModel):
    """What the caller chose; kept in the result, so that a resumed run is the same run.

    Lengths count tokens, `input_lens` of whole prompts: one for each document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    input_lens: tuple[int, ...]
    output_len: int = 32
    seed: int = 0
    num_warmups: int = 1
    confidence_level: float = 0.95
    save_detailed: bool = False
    label: str | None = None
    metadata: Mapping[str, str] = Field(default_factory=dict)
    base_url: tuple[str, ...] = ()
    model: str | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)  # of each request to `base_url`
    num_prompts: int = 0  # of each cell of a sweep
    max_concurrency: tuple[int, ...] = ()
    request_rate: tuple[float, ...] = ()
    burstiness: float = 1.0
    goodput: Mapping[str, float] = Field(default_factory=dict)
    prepare: str | None = None
    modality: tuple[str, ...] = ()  # that were asked for; none means all that the model takes
    refused: Mapping[str, str] = Field(default_factory=dict)  # modality to the engine's words
    sizes: Sizes = Sizes()


@dataclass(frozen=True, slots=True)
class Stage:
    """Units to measure, and the warm-up before the first of them."""

    units: tuple[Unit, ...] = ()
    warmups: tuple[Trial, ...] = ()


def no_more(_: Sequence[Sample]) -> Stage:
    """What was planned is all."""
    return Stage()


Say = Callable[[str], object]  # a line of progress
Measure = Callable[[Any, PromptOf, Bench, float], AsyncIterator[Sample]]  # of one unit, in a run that began then
Summary = Callable[[Sequence[Sample], Options], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Study:
    """Units, the prompt that they are sent with, the warm-up before them, and the summary of their samples."""

    arms: tuple[Arm, ...]  # in the order in which tables list them
    trials: tuple[Unit, ...]
    warmups: tuple[Trial, ...]
    prompt: PromptOf
    summary: Summary
    more: Callable[[Sequence[Sample]], Stage] = no_more  # what depends on what the first samples found
    foreseen: tuple[Unit, ...] = ()  # about what `more` will be, for the estimate of the time left
    measure: Measure = one_document
    caveats: Callable[[Sequence[Sample]], Sequence[str]] = caveats
    survey: Callable[[Say], Awaitable[Study]] | None = None  # looks at what is not asked of engines, after the warm-up
