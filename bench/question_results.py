"""Parts of a result that belong to single questions. Fields ending in `_ms` are milliseconds; None: not measured."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bench.result_part import (
    ArmSpeedup,
    ArmSummary,
    Comparison,
    Flag,
    MedianInterval,
    Nats,
    Number,
    ResultPart,
)


class LoadCellSummary(ArmSummary):
    """One cell of `bench sweep`: an arm, a prompt length and a load. `duration` starts with the first request."""

    name: str = ""  # of the cell's file in the folder `arms`
    input_len: Number = None  # tokens of each prompt
    arm: str = ""
    request_rate: Number | str = None  # requests per second, or "inf" in a closed loop
    burstiness: Number = None  # shape of the gaps between requests; 1 is Poisson
    max_concurrency: Number = None  # requests in flight in a closed loop
    num_prompts: Number = None
    request_goodput: Number = None  # requests per second that meet every limit of --goodput
    mean_client_queue_time_ms: Number = None  # time that a request waited in the client
    recomputed: Number = None  # cross-reads whose document had to be computed again


class LengthSummary(ResultPart):
    """One prompt length of `bench storage`."""

    input_len: Number = None  # tokens
    recompute: ArmSummary = ArmSummary()  # the cold arm
    load: ArmSummary = ArmSummary()  # the cross-reads
    speedup: MedianInterval = MedianInterval()  # TTFT of computing divided by that of loading


class Confirmation(ResultPart):
    """A length that was measured to confirm the break-even."""

    input_len: Number = None  # tokens
    expected: str = ""  # which should be faster: recompute or load
    shareable_tokens: Number = None  # whole chunks before the last token
    verdict: str = ""  # as in Comparison
    speedup: MedianInterval = MedianInterval()  # TTFT of computing divided by that of loading
    holds: Flag = None  # None if there is no claim


class BreakEven(ResultPart):
    """The prompt length above which loading KV takes less time than computing it."""

    input_len: Number = None  # tokens; None if there is no such length within the measured range
    why: str = ""
    recompute_fit: tuple[Number, ...] | None = None  # ms, ms per token, ms per squared token
    load_fit: tuple[Number, ...] | None = None  # ms, ms per token
    bytes_per_token: Number = None  # of KV on the volume
    effective_gb_per_s: Number = None  # GB of KV loaded per second, from the slope of `load_fit`
    share_of_device_pct: Number = None  # of the volume's own read speed without the page cache
    share_of_page_cache_pct: Number = None  # of the volume's read speed from the page cache
    confirmed: tuple[Confirmation, ...] = ()


class AccessSpeed(ResultPart):
    """How fast the KV volume was read or written."""

    gb_per_s: Number = None  # None if it could not be measured
    method: str | None = None
    reason: str | None = None  # why it could not be measured


class VolumeSummary(ResultPart):
    """The speed of the KV volume alone, with files of one chunk; empty if it was not measured."""

    tool: str | None = None
    path: str | None = None
    filesystem: str | None = None
    note: str | None = None
    chunk_bytes: Number = None
    bytes_per_token: Number = None
    workers: Number = None  # threads
    read_cached: AccessSpeed = AccessSpeed()  # from the page cache
    read_device: AccessSpeed = AccessSpeed()
    write_device: AccessSpeed = AccessSpeed()
    sequential: dict[str, AccessSpeed] = Field(default_factory=dict)  # the same speeds with one large file


class TimeBudget(ResultPart):
    """Where the TTFT of one arm goes at one prompt length: means over the samples that count."""

    arm: str = ""
    input_len: Number = None  # tokens
    n: Number = None  # samples
    mean_ttft_ms: Number = None
    parts_ms: dict[str, Number] = Field(default_factory=dict)  # by name of the part (bench/time_budget.py)
    not_attributed_ms: Number = None  # what lies between measured times and is none of the parts
    overlap_ms: Number = None  # by how much parts and `not_attributed_ms` are more than the TTFT together
    attributed_pct: Number = None  # of the TTFT; neither `not_attributed_ms` nor `overlap_ms` is


class PhysicalLimit(ResultPart):
    """How soon a cross-read could start if it only read its bytes and computed the tail of its prompt."""

    input_len: Number = None  # tokens
    kv_bytes: Number = None  # of the files that were loaded
    read_cached_ms: Number = None  # these bytes over the volume's bandwidth from the page cache
    read_device_ms: Number = None  # the same, from the device
    decryption_ms: Number = None  # of these bytes on their own, which the limit leaves out
    tail_tokens: Number = None  # that are computed
    tail_ms: Number = None  # these tokens at the rate of a cold prefill of this length
    mean_ttft_ms: Number = None  # of the cross-reads


class DecodeSummary(ResultPart):
    """Generation after the first token, by arm."""

    median_decode_ms: dict[str, Number] = Field(default_factory=dict)  # per output token, on the engine's own clock
    stall_ms: dict[str, Number] = Field(default_factory=dict)  # longest gap between two chunks
    bursts: dict[str, Number] = Field(default_factory=dict)  # answers whose tokens arrived almost together


class Divergence(ResultPart):
    """Where the texts of a cross-read and of the plain engine diverge."""

    token: Number = None  # index of the token in the answer, from 0
    gap: Nats = None  # by how much the plain engine preferred its own token
    near_tie: Flag = None  # whether rounding alone may flip it


class NeedleFound(ResultPart):
    """Whether the document's secret code was found."""

    plain: Flag = None  # by the plain engine, both cold and own-warm
    cross: Flag = None


class VerifyDocument(ResultPart):
    """The replies to one document."""

    document: Number = None
    noise: Nats = None  # difference between the plain engine's cold and own-warm replies
    cross: Nats = None  # difference to the plain reply that shares more tokens with the cross-read
    tokens: Number = None  # tokens that were compared
    cached_tokens: Number = None  # of the cross-read
    prompt_tokens: Number = None
    same_text: Flag = None  # whether the cross-read has the same text as that plain reply
    same_text_plain: Flag = None  # whether the two plain replies have the same text
    divergence: Divergence | None = None  # None if the texts do not diverge
    needle: NeedleFound | None = None


class MediaVariant(ResultPart):
    """Media sent in place of a document's own: almost identical ones, or identical ones in another form."""

    document: Number = None
    variant: str = ""
    expected: str = ""  # differs, hits, or may hit
    cached_tokens: Number = None
    prompt_tokens: Number = None
    nats: Nats = None  # difference to the plain engine's answer to the same media
    plain_nats: Nats = None  # between the plain engine's answers to these and to the document's own media
    told_by_answer: Flag = None  # whether `plain_nats` is more than the noise floor
    holds: Flag = None
    why: str = ""


class VerifiedPart(ResultPart):
    """Whether cross-reads give the right answers, for text or for one modality."""

    verdict: str = ""  # same, different, or no claim
    why: str = ""
    agrees: Flag = None  # whether the verdict is `same` and every variant holds
    noise: Nats = None  # the largest `noise` of any document
    floor: Nats = None  # differences up to this are noise: twice `noise`, at least 0.0001 nats
    worst: Nats = None  # the largest difference of a cross-read
    n: Number = None  # documents that were compared
    left_out: Number = None  # documents that were not compared
    needles_asked: Number = None  # documents whose code the plain engine found both times
    needles_lost: tuple[Any, ...] = ()  # those of them whose code the cross-read did not find
    documents: tuple[VerifyDocument, ...] = ()
    canaries: tuple[MediaVariant, ...] = ()


class VerifySummary(VerifiedPart):
    """The result of `bench verify`: text, and each modality in `media`. `agrees` covers all of them."""

    text_agrees: Flag = None
    media: dict[str, VerifiedPart] = Field(default_factory=dict)


class MixupCheck(ResultPart):
    """Whether other media in the same position were ever mistaken for a document's own."""

    held: Number = None  # documents where they were kept apart
    failed: tuple[Any, ...] = ()  # documents where they were mixed up
    unproven: Number = None  # documents that prove nothing, because even identical media were not shared
    untold: Number = None  # held ones where the answers are alike: only cached tokens are evidence
    holds: Flag = None


class ModalitySummary(ResultPart):
    """One modality of `bench mm`."""

    media_tokens: Number = None  # median number that the media add to a prompt
    text_tokens: Number = None  # median number in the prompt without media
    comparison: Comparison = Comparison()
    ladder: dict[str, ArmSpeedup] = Field(default_factory=dict)  # other arms, each against cold
    processor_warm_ratio: MedianInterval = MedianInterval()  # TTFT of already preprocessed media / cold
    canary: MixupCheck = MixupCheck()


class QueryHits(ResultPart):
    """Prompt tokens and KV hits of one query, over all answered samples, whether they count or not."""

    query: str = ""  # modality and arm
    n: Number = None  # answers
    total_tokens: Number = None
    kv_hits: Number = None  # tokens that came from KV
    kv_hits_shared: Number = None  # those of them that came through the cache server
    hit_rate_pct: Number = None


class PeerSummary(ResultPart):
    """Comparison of this client with `vllm bench serve`."""

    median_ttft_ratio: Number = None  # this client's divided by that of `vllm bench serve`
    fastest_half_ttft_ratio: Number = None  # for the faster halves, which a busy machine disturbs less
    cpu_ms_per_request: dict[str, Number] = Field(default_factory=dict)
