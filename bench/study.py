"""A question put to the engines: what is sent, and what is made of the samples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from bench.arms import Arm
from bench.caveats import caveats
from bench.media import MODALITIES, Sizes
from bench.plan import Trial, Unit
from bench.run import Bench, PromptOf, one_document
from bench.sample import Sample

QUESTION = "What is this document about? Answer in one sentence."


Length = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: media have the length that they have
Metric = Annotated[str, Field(pattern="^(ttft|tpot|e2el)$")]
Modality = Annotated[str, Field(pattern=f"^({'|'.join(MODALITIES)})$")]


class Options(BaseModel):
    """What the caller chose, within the bounds of the command line; kept in a result, from where a resumed run has it.

    Lengths count tokens, `input_lens` of whole prompts: one for each document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    input_lens: tuple[Length, ...] = Field(min_length=1, max_length=1_000_000)
    output_len: Annotated[int, Field(ge=1, le=100_000)] = 32
    seed: NonNegativeInt = 0
    num_warmups: Annotated[int, Field(ge=0, le=10)] = 1
    confidence_level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    save_detailed: bool = False
    label: str | None = None
    metadata: Mapping[str, str] = Field(default_factory=dict)
    base_url: tuple[str, ...] = ()
    model: str | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)  # of each request to `base_url`
    num_prompts: Annotated[int, Field(ge=0, le=10_000)] = 0  # of each cell of a sweep
    max_concurrency: tuple[PositiveInt, ...] = ()
    request_rate: tuple[PositiveFloat, ...] = ()
    burstiness: PositiveFloat = 1.0
    goodput: Mapping[Metric, PositiveFloat] = Field(default_factory=dict)
    prepare: str | None = None
    modality: tuple[Modality, ...] = ()  # that were asked for; none means all that the model takes
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
