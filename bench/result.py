"""The contents of result.json. An arm's fields have the names, units and shapes of `vllm bench serve`.

Flat fields ending in `_ms` are milliseconds, arrays are seconds. A number is None if it was not measured, or if the
samples do not support it. bench/result_part.py explains how an untrusted result is read.
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
    PhysicalLimit,
    QueryHits,
    TimeBudget,
    VerifySummary,
    VolumeSummary,
)
from bench.result_part import ArmSpeedup, ArmSummary, Comparison, Flag, Number, ResultPart

SCHEMA = 1  # version of the files that this code writes and reads


class PreflightFacts(ResultPart):
    """What the engines reported before the measurement."""

    engines: dict[str, dict[str, Any]] = Field(default_factory=dict)  # facts that each engine reports about itself
    mismatches: tuple[str, ...] = ()  # differences that do not prevent the comparison
    unchecked: tuple[str, ...] = ()  # facts that could not be compared


class SampleRow(ResultPart):
    """The fields of a sample that the reports use; `bench.sample.Sample` has all of them."""

    document: Number = None
    arm: str = ""
    engine: str = ""
    position: Number = None  # of this arm in the order of its document's arms
    started_s: Number = None  # since the run began
    valid: Flag = None  # whether it counts
    reason: str = ""  # why it does not count
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
    """The result of a complete or interrupted run."""

    schema_version: Any = Field(default=SCHEMA, alias="schema")
    kind: str = ""  # the command: ttft, mm, aa, storage, budget, sweep, decode, verify or peer
    date: str = ""  # ISO 8601, when the run began
    run_id: str = ""
    complete: Flag = None
    command: str = ""  # as it was typed
    label: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)  # from --metadata
    endpoint_type: str = ""  # the protocol; vLLM uses two names for it, this and `backend`
    backend: str = ""
    model_id: str = ""
    tokenizer_id: str = ""
    num_prompts: Number = None  # documents
    input_len: Number = None  # tokens of the longest prompt
    output_len: Number = None  # maximum tokens of an answer
    seed: Number = None
    num_warmups: Number = None  # for each prompt length on each engine
    max_concurrency: Number = None  # requests in flight; None for sweep, whose cells have their own
    request_rate: Number | str = None  # requests per second; "inf": each is sent when the previous one has ended
    confidence_level: Number = None  # of every interval, from 0 to 1
    duration: Number = None  # seconds of measuring, over all resumptions
    completed: Number = None  # samples that count
    failed: Number = None  # samples that do not count
    versions: dict[str, Any] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)  # the machine that sent the requests; engines may be elsewhere
    stack: dict[str, Any] = Field(default_factory=dict)  # configuration of the engines, without secrets
    preflight: PreflightFacts = PreflightFacts()
    options: dict[str, Any] = Field(default_factory=dict)  # the chosen options (bench.options.Options)
    arms: dict[str, ArmSummary] = Field(default_factory=dict)
    comparison: Comparison = Comparison()
    ladder: dict[str, ArmSpeedup] = Field(default_factory=dict)  # each arm against the one that it is compared with
    decode: DecodeSummary = DecodeSummary()
    modalities: dict[str, ModalitySummary] = Field(default_factory=dict)
    verify: VerifySummary = VerifySummary()
    refused: dict[str, str] = Field(default_factory=dict)  # modality to the engine's error message
    holds: Flag = None  # for mm: whether every modality makes a claim and no media were mixed up
    queries: tuple[QueryHits, ...] = ()
    storage: VolumeSummary = VolumeSummary()
    lengths: tuple[LengthSummary, ...] = ()
    break_even: BreakEven = BreakEven()
    budgets: tuple[TimeBudget, ...] = ()  # of ttft and budget
    limits: tuple[PhysicalLimit, ...] = ()
    goodput: dict[str, Number] = Field(default_factory=dict)  # for sweep: metric to its limit in ms
    cells: tuple[LoadCellSummary, ...] = ()
    peer: PeerSummary = PeerSummary()
    warnings: tuple[str, ...] = ()  # what to know before trusting the numbers
    samples: tuple[SampleRow, ...] = ()

    @property
    def counted(self) -> Sequence[SampleRow]:
        """The samples that meet the conditions of their arm."""
        return [row for row in self.samples if row.valid]

    @property
    def not_counted(self) -> Sequence[SampleRow]:
        """The samples that failed or do not meet the conditions of their arm."""
        return [row for row in self.samples if not row.valid]

    @property
    def base_url(self) -> bool:
        """Whether the engines are external servers named by --base-url."""
        return bool(self.options.get("base_url"))
