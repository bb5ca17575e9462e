"""What result.json holds. Names, units and shapes of an arm's fields are those of `vllm bench serve`.

Flat fields that end in `_ms` are milliseconds, arrays are seconds. A number is None where it was not measured, or where
the samples do not support it. bench/result_part.py explains how a result of another person is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from bench.question_results import (
    BreakEven,
    DecodeSummary,
    LengthSummary,
    LoadCellSummary,
    ModalitySummary,
    PeerSummary,
    QueryHits,
    VerifySummary,
    VolumeSummary,
)
from bench.result_part import ArmSpeedup, ArmSummary, Comparison, Flag, Number, ResultPart

SCHEMA = 1  # of the files that this version writes and reads


class PreflightFacts(ResultPart):
    """What was read off the engines before anything was measured."""

    engines: dict[str, dict[str, Any]] = Field(default_factory=dict)  # what each reports about itself
    mismatches: tuple[str, ...] = ()  # differences that do not forbid the comparison
    unchecked: tuple[str, ...] = ()  # what could not be compared


class SampleRow(ResultPart):
    """What the reports show of a sample; `bench.sample.Sample` has all of its fields."""

    document: Number = None
    arm: str = ""
    engine: str = ""
    position: Number = None  # in the order of its document's arms
    started_s: Number = None  # since the run began
    valid: Flag = None  # whether it counts
    reason: str = ""  # why it does not
    ttft_ms: Number = None
    mean_itl_ms: Number = None
    tpot_ms: Number = None
    e2el_ms: Number = None
    itls: tuple[Number, ...] = ()  # seconds
    prompt_tokens: Number = None
    cached_tokens: Number = None
    server_queue_ms: Number = None
    server_ttft_ms: Number = None
    stored_s: Number = None  # from the end of the answer until all of its chunks were on the volume
    source: str | None = None  # where the cached tokens came from
    text: str | None = None


class Result(ResultPart):
    """A run of one kind, whole or interrupted."""

    schema_version: Any = Field(default=SCHEMA, alias="schema")
    kind: str = ""  # the command: ttft, mm, aa, storage, sweep, decode, verify or peer
    date: str = ""  # ISO 8601, when the run began
    run_id: str = ""
    complete: Flag = None
    command: str = ""  # as it was typed
    label: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)  # of --metadata
    endpoint_type: str = ""  # the protocol, under the two names that vLLM gives it
    backend: str = ""
    model_id: str = ""
    tokenizer_id: str = ""
    num_prompts: Number = None  # documents
    input_len: Number = None  # tokens of the longest prompt
    output_len: Number = None  # tokens of an answer at most
    seed: Number = None
    num_warmups: Number = None  # of each prompt length on each engine
    max_concurrency: Number = None  # requests in flight; of sweep None, its cells have their own
    request_rate: Number | str = None  # requests per second, or "inf": each is sent when the one before has ended
    confidence_level: Number = None  # of every interval, from 0 to 1
    duration: Number = None  # seconds of measuring, over all resumptions
    completed: Number = None  # samples that count
    failed: Number = None  # samples that do not
    versions: dict[str, Any] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)  # the machine that asked; the engines may be elsewhere
    stack: dict[str, Any] = Field(default_factory=dict)  # what the engines were started with, without secrets
    preflight: PreflightFacts = PreflightFacts()
    options: dict[str, Any] = Field(default_factory=dict)  # what the caller chose (bench.options.Options)
    arms: dict[str, ArmSummary] = Field(default_factory=dict)
    comparison: Comparison = Comparison()
    ladder: dict[str, ArmSpeedup] = Field(default_factory=dict)  # each arm over the one that it is held against
    decode: DecodeSummary = DecodeSummary()
    modalities: dict[str, ModalitySummary] = Field(default_factory=dict)
    verify: VerifySummary = VerifySummary()
    refused: dict[str, str] = Field(default_factory=dict)  # modality to the engine's words
    holds: Flag = None  # of mm: whether every modality makes a claim, and none was mixed up
    queries: tuple[QueryHits, ...] = ()
    storage: VolumeSummary = VolumeSummary()
    lengths: tuple[LengthSummary, ...] = ()
    break_even: BreakEven = BreakEven()
    goodput: dict[str, Number] = Field(default_factory=dict)  # of sweep: metric to its limit, ms
    cells: tuple[LoadCellSummary, ...] = ()
    peer: PeerSummary = PeerSummary()
    warnings: tuple[str, ...] = ()  # what to know before believing the numbers
    samples: tuple[SampleRow, ...] = ()

    @property
    def counted(self) -> Sequence[SampleRow]:
        """The samples that prove what their arm demands."""
        return [row for row in self.samples if row.valid]

    @property
    def not_counted(self) -> Sequence[SampleRow]:
        """The samples that failed or do not prove it."""
        return [row for row in self.samples if not row.valid]

    @property
    def base_url(self) -> bool:
        """Whether the engines are servers that the caller named."""
        return bool(self.options.get("base_url"))
