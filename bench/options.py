"""The options of a benchmark run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from bench.media_prompts import MODALITIES, Sizes

QUESTION = "What is this document about? Answer in one sentence."
PromptTokens = Annotated[int, Field(ge=0, le=1_000_000)]  # 0 for media, whose length depends on the model
GoodputMetric = Annotated[str, Field(pattern="^(ttft|tpot|e2el)$")]
ModalityName = Annotated[str, Field(pattern=f"^({'|'.join(MODALITIES)})$")]


class Options(BaseModel):
    """The options of a run, with the bounds of the command line. The result stores them for a resumed run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    input_lens: tuple[PromptTokens, ...] = Field(min_length=1, max_length=1_000_000)  # tokens of each whole prompt
    output_len: Annotated[int, Field(ge=1, le=100_000)] = 32  # tokens
    seed: NonNegativeInt = 0
    num_warmups: Annotated[int, Field(ge=0, le=10)] = 1
    confidence_level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    save_detailed: bool = False
    label: str | None = None
    metadata: Mapping[str, str] = Field(default_factory=dict)
    base_url: tuple[str, ...] = ()
    model: str | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)  # additional fields of each request to `base_url`
    num_prompts: Annotated[int, Field(ge=0, le=10_000)] = 0  # for each cell of a sweep
    max_concurrency: tuple[PositiveInt, ...] = ()
    request_rate: tuple[PositiveFloat, ...] = ()
    burstiness: PositiveFloat = 1.0
    goodput: Mapping[GoodputMetric, PositiveFloat] = Field(default_factory=dict)
    prepare: str | None = None
    modality: tuple[ModalityName, ...] = ()  # requested ones; if empty, all that the model supports
    refused: Mapping[str, str] = Field(default_factory=dict)  # modality to the engine's error message
    sizes: Sizes = Sizes()
