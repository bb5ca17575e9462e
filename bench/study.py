"""A question put to the engines: what is sent, and what is made of the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.arms import Arm
from bench.media import Sizes
from bench.plan import Trial
from bench.sample import Sample
from engines.prompt import Prompt

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
    num_prompts: int = 0  # of each cell of a sweep
    max_concurrency: tuple[int, ...] = ()
    request_rate: tuple[float, ...] = ()
    burstiness: float = 1.0
    goodput: Mapping[str, float] = Field(default_factory=dict)
    prepare: str | None = None
    modality: tuple[str, ...] = ()  # that were asked for; none means all that the model takes
    refused: Mapping[str, str] = Field(default_factory=dict)  # modality to the engine's words
    sizes: Sizes = Sizes()


def no_more(_: Sequence[Sample]) -> tuple[Trial, ...]:
    """The planned trials are all."""
    return ()


Summary = Callable[[Sequence[Sample], Options], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Study:
    """Trials, the prompt that they are sent with, the warm-up before them, and the summary of their samples."""

    arms: tuple[Arm, ...]  # in the order in which tables list them
    trials: tuple[Trial, ...]
    warmups: tuple[Trial, ...]
    prompt: Callable[[str], Prompt]  # of a nonce
    summary: Summary
    more: Callable[[Sequence[Sample]], tuple[Trial, ...]] = no_more  # trials that depend on what the first ones found
