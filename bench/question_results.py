"""What single questions add to a result. Fields that end in `_ms` are milliseconds; None was not measured."""

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
    """One arm at one prompt length under one load, of `bench sweep`. Duration is from the first request to the end."""

    name: str = ""  # of its file in the folder `arms`
    input_len: Number = None  # tokens of each prompt
    arm: str = ""
    request_rate: Number | str = None  # requests per second, or "inf" in a closed loop
    burstiness: Number = None  # shape of the gaps between requests; 1 is Poisson
    max_concurrency: Number = None  # requests in flight in a closed loop
    num_prompts: Number = None
    request_goodput: Number = None  # requests per second that keep every limit of --goodput
    mean_client_queue_time_ms: Number = None  # that a request waited in the client
    recomputed: Number = None  # cross-reads whose document had to be computed again


class LengthSummary(ResultPart):
    """One prompt length of `bench storage`."""

    input_len: Number = None  # tokens
    recompute: ArmSummary = ArmSummary()  # the cold arm
    load: ArmSummary = ArmSummary()  # the cross-reads
    speedup: MedianInterval = MedianInterval()  # TTFT of computing divided by that of loading


class Confirmation(ResultPart):
    """A length that was measured to see whether the break-even holds."""

    input_len: Number = None  # tokens
    expected: str = ""  # what should win there: recompute or load
    shareable_tokens: Number = None  # whole chunks before the last token
    verdict: str = ""  # as of a comparison
    speedup: MedianInterval = MedianInterval()  # TTFT of computing divided by that of loading
    holds: Flag = None  # None where nothing can be claimed


class BreakEven(ResultPart):
    """From which prompt length on loading KV starts sooner than computing it."""

    input_len: Number = None  # tokens; None where there is no such length among the measured ones
    why: str = ""
    recompute_fit: tuple[Number, ...] | None = None  # ms, ms per token, ms per squared token
    load_fit: tuple[Number, ...] | None = None  # ms, ms per token
    bytes_per_token: Number = None  # of KV on the volume
    effective_gb_per_s: Number = None  # KV bytes loaded per second, by the slope of `load_fit`
    share_of_device_pct: Number = None  # of the volume's own speed without its page cache
    share_of_page_cache_pct: Number = None  # of its speed from the page cache
    confirmed: tuple[Confirmation, ...] = ()


class AccessSpeed(ResultPart):
    """How fast the KV volume was read or written."""

    gb_per_s: Number = None  # None where it could not be measured
    method: str | None = None
    reason: str | None = None  # why it could not be measured


class VolumeSummary(ResultPart):
    """The KV volume by itself, in files of one chunk; empty where it was not measured."""

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
    sequential: dict[str, AccessSpeed] = Field(default_factory=dict)  # the same through one large file


class DecodeSummary(ResultPart):
    """What comes after the first token, by arm."""

    median_decode_ms: dict[str, Number] = Field(default_factory=dict)  # per output token, on the engine's own clock
    stall_ms: dict[str, Number] = Field(default_factory=dict)  # the longest gap between two chunks
    bursts: dict[str, Number] = Field(default_factory=dict)  # answers whose tokens came all but together


class Divergence(ResultPart):
    """Where the texts of a cross-read and of the plain engine part."""

    token: Number = None  # its place in the answer, from 0
    gap: Nats = None  # by which the plain engine preferred its own token
    near_tie: Flag = None  # whether rounding alone may flip it


class NeedleFound(ResultPart):
    """Whether the document's secret code was found."""

    plain: Flag = None  # by the plain engine, both cold and own-warm
    cross: Flag = None


class VerifyDocument(ResultPart):
    """The replies to one document."""

    document: Number = None
    noise: Nats = None  # the plain engine's cold reply to its own-warm one
    cross: Nats = None  # the cross-read to the plain reply that it follows for more tokens
    tokens: Number = None  # that were compared
    cached_tokens: Number = None  # of the cross-read
    prompt_tokens: Number = None
    same_text: Flag = None  # as that plain reply
    same_text_plain: Flag = None  # of the two plain replies
    divergence: Divergence | None = None  # None where no text parts from the other
    needle: NeedleFound | None = None


class MediaVariant(ResultPart):
    """Media that are almost a document's own, or equal ones in another form, shown in their place."""

    document: Number = None
    variant: str = ""
    expected: str = ""  # differs, hits, or may hit
    cached_tokens: Number = None
    prompt_tokens: Number = None
    nats: Nats = None  # to the plain engine's answer to the same media
    plain_nats: Nats = None  # between the plain engine's answers to these media and to the document's own
    told_by_answer: Flag = None  # whether `plain_nats` is more than the noise floor
    holds: Flag = None
    why: str = ""


class VerifiedPart(ResultPart):
    """Whether the fast answers are the right ones, for text or for one modality."""

    verdict: str = ""  # same, different, or no claim
    why: str = ""
    agrees: Flag = None  # whether the verdict is `same`, and every variant holds
    noise: Nats = None  # the largest of all documents
    floor: Nats = None  # what noise explains: twice `noise`, and 0.0001 nats at least
    worst: Nats = None  # the largest difference of a cross-read
    n: Number = None  # documents that were compared
    left_out: Number = None  # documents that were not
    needles_asked: Number = None  # documents whose code the plain engine found both times
    needles_lost: tuple[Any, ...] = ()  # documents whose code the cross-read did not find then
    documents: tuple[VerifyDocument, ...] = ()
    canaries: tuple[MediaVariant, ...] = ()


class VerifySummary(VerifiedPart):
    """`bench verify`: the fields of text, and the same of each modality. `agrees` is of all of them together."""

    text_agrees: Flag = None
    media: dict[str, VerifiedPart] = Field(default_factory=dict)


class MixupCheck(ResultPart):
    """Whether other media in the same place were ever taken for a document's own."""

    held: Number = None  # documents where they were kept apart
    failed: tuple[Any, ...] = ()  # documents where they were not
    unproven: Number = None  # documents whose equal media were not shared either
    untold: Number = None  # held ones where the answers are alike, so that only cached tokens show it
    holds: Flag = None


class ModalitySummary(ResultPart):
    """One modality of `bench mm`."""

    media_tokens: Number = None  # median of what the media add to a prompt
    text_tokens: Number = None  # median of the prompt without them
    comparison: Comparison = Comparison()
    ladder: dict[str, ArmSpeedup] = Field(default_factory=dict)  # arms over the cold one
    processor_warm_ratio: MedianInterval = MedianInterval()  # TTFT of media that were preprocessed before, over cold
    canary: MixupCheck = MixupCheck()


class QueryHits(ResultPart):
    """Tokens of all answers to one query, whether they count or not."""

    query: str = ""  # modality and arm
    n: Number = None  # answers
    total_tokens: Number = None
    kv_hits: Number = None  # tokens that came from KV
    kv_hits_shared: Number = None  # those that came through the cache server
    hit_rate_pct: Number = None


class PeerSummary(ResultPart):
    """This client beside `vllm bench serve`."""

    median_ttft_ratio: Number = None  # ours over theirs
    fastest_half_ttft_ratio: Number = None  # the same of the faster halves, which a busy machine disturbs less
    cpu_ms_per_request: dict[str, Number] = Field(default_factory=dict)
