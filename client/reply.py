"""The timings and token counts of an answer; TTFT is defined only here. docs/metrics.md explains every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from config.errors import EmptyReply

Second = float  # seconds of a monotonic clock; arrival times count from just before the request was sent


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of generated text, and its time of arrival."""

    text: str
    at: Second
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One generated token, and the log-probabilities (nats) of the best candidates at its position."""

    token: str
    best: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts by the engine, from the last chunk that has them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None  # None if the server does not report it (vLLM without --enable-prompt-tokens-details)

    @property
    def cached(self) -> str:
        """The cached tokens for display; a question mark if the server does not report them."""
        return "?" if self.cached_tokens is None else f"{self.cached_tokens:,}"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the prompt's tokens came from, calculated from the engine's counters before and after the request.

    `computed + prefix_cache + shared` is the number of prompt tokens. Of the `shared` tokens, `l1` were in the cache
    server's memory and `l2` on the KV volume; both are 0 if its counters do not show this.
    """

    computed: int
    prefix_cache: int
    shared: int
    l1: int = 0
    l2: int = 0
    mm_cache_hits: int | None = None  # media found preprocessed (this is not KV); None if not reported
    tiers: bool = True  # False if the connector has no cache server, so that `l1` and `l2` are never known

    @property
    def label(self) -> str:
        """The sources of the cached tokens in a few words, or `computed` if there are none."""
        parts = []
        if self.prefix_cache:
            parts.append("own prefix cache")
        if self.shared:
            tiers = [name for name, tokens in (("memory", self.l1), ("volume", self.l2)) if tokens]
            parts.append(f"shared {' + '.join(tiers)}" if tiers else "shared")
        return " + ".join(parts) or "computed"


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """Seconds measured by the engine: in its queue, from there to the first token, and from there to the last.

    vLLM reports them with `--enable-per-request-metrics`. `ttft` does not include the queue.
    """

    queue: Second
    ttft: Second
    generation: Second | None = None


@dataclass(frozen=True, slots=True)
class HistogramTimes:
    """What the servers' histograms say of one request. None: not reported, or not of this request alone.

    `total_ttft` counts from the request's arrival at the API server to its first token there. `lookup` is what vLLM's
    connector waited until its cache server had answered, which includes loading from the volume into the cache server's
    memory. The rates are in 1e9 bytes of KV per second: from the volume to that memory (decryption included), and from
    there to the engine.
    """

    total_ttft: Second | None = None
    lookup: Second | None = None
    volume_gb_per_s: float | None = None
    copy_gb_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer. `0 < ttft <= e2el`; both are in seconds from just before the request was sent."""

    engine: str
    text: str
    ttft: Second
    itl: tuple[Second, ...]  # between chunks with text, as vLLM counts inter-token latency
    e2el: Second  # until the last chunk with text
    usage: Usage
    sources: Sources | None = None  # None if other requests were in flight, or the counters could not be read
    logprobs: tuple[TokenLogprobs, ...] = ()  # of each token, if requested
    server: ServerTimes | None = None
    histograms: HistogramTimes = HistogramTimes()
    text_tokens: int | None = None  # tokens of the same prompt without its media; None if not counted
    before_media: int | None = None  # how many of these come before the media
    chunk_size: int = 1  # of the engine

    @classmethod
    def of(
        cls,
        engine: str,
        deltas: Sequence[Delta],
        usage: Usage,
        sources: Sources | None = None,
        logprobs: Sequence[TokenLogprobs] = (),
        server: ServerTimes | None = None,
        histograms: HistogramTimes = HistogramTimes(),
        chunk_size: int = 1,
    ) -> Reply:
        """Computes the reply from its deltas. Raises EmptyReply if there are none."""
        if not deltas:
            raise EmptyReply(
                engine, "the stream ended before any text, so there is no TTFT; ask again, or something else"
            )
        at = [delta.at for delta in deltas]
        gaps = tuple(later - sooner for sooner, later in pairwise(at))
        text = "".join(delta.text for delta in deltas if not delta.reasoning)
        found = (sources, tuple(logprobs), server, histograms)
        return cls(engine, text, at[0], gaps, at[-1], usage, *found, chunk_size=chunk_size)

    @property
    def mean_itl(self) -> Second | None:
        """The mean inter-token latency; None with fewer than two chunks."""
        return fmean(self.itl) if self.itl else None

    @property
    def tpot(self) -> Second | None:
        """Time per output token after the first, as vLLM defines it; None with fewer than two tokens."""
        tokens = self.usage.completion_tokens
        return (self.e2el - self.ttft) / (tokens - 1) if tokens > 1 else None

    @property
    def media_tokens(self) -> int | None:
        """The number of prompt tokens that media take; None if not counted."""
        return None if self.text_tokens is None else self.usage.prompt_tokens - self.text_tokens

    def whole_chunks(self, tokens: int) -> int:
        """How many of the first `tokens` tokens are in whole chunks of KV."""
        return tokens // self.chunk_size * self.chunk_size

    @property
    def source(self) -> str:
        """Where the cached tokens came from, in words; `not attributed` if that is not certain."""
        if self.sources:
            return self.sources.label
        return "computed" if self.usage.cached_tokens == 0 else "not attributed"

    def to_json(self) -> dict[str, object]:
        """Returns the reply with names and units of `vllm bench serve`: milliseconds in `…_ms`, seconds in `itls`."""
        sources, server, histograms = self.sources, self.server, self.histograms
        return {
            "engine": self.engine,
            "text": self.text,
            "ttft_ms": self.ttft * 1e3,
            "mean_itl_ms": None if self.mean_itl is None else self.mean_itl * 1e3,
            "tpot_ms": None if self.tpot is None else self.tpot * 1e3,
            "e2el_ms": self.e2el * 1e3,
            "itls": list(self.itl),
            "prompt_tokens": self.usage.prompt_tokens,
            "media_tokens": self.media_tokens,
            "before_media_tokens": self.before_media,
            "completion_tokens": self.usage.completion_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "cached_tokens_details": sources
            and {"device": sources.prefix_cache, "host": sources.l1, "storage": sources.l2, "shared": sources.shared},
            "mm_cache_hits": sources and sources.mm_cache_hits,
            "source": self.source,
            "server_queue_ms": server and server.queue * 1e3,
            "server_ttft_ms": server and server.ttft * 1e3,
            "server_generation_ms": server and server.generation and server.generation * 1e3,
            "server_total_ttft_ms": histograms.total_ttft and histograms.total_ttft * 1e3,
            "lookup_ms": histograms.lookup and histograms.lookup * 1e3,
            "volume_gb_per_s": histograms.volume_gb_per_s,
            "copy_gb_per_s": histograms.copy_gb_per_s,
        }
