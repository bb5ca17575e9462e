"""What an answer cost: the one definition of TTFT, computed from one stream. docs/metrics.md defines each number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from config.errors import EmptyReply

Second = float  # of a monotonic clock, counted from just before the request was sent


@dataclass(frozen=True, slots=True)
class Delta:
    """A chunk of generated text, and when it arrived."""

    text: str
    at: Second
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One generated token, and the log-probabilities (nats) of the best candidates for its place."""

    token: str
    best: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """The engine's own count, from the stream's last chunk that has one."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None  # None if the server does not report it (vLLM without --enable-prompt-tokens-details)

    @property
    def cached(self) -> str:
        """For a person; a question mark if the server does not report it."""
        return "?" if self.cached_tokens is None else f"{self.cached_tokens:,}"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the prompt's tokens came from, by the engine's counters before and after this one request.

    `computed + prefix_cache + shared` is the prompt. Of the `shared` ones, `l1` were in the cache server's memory and
    `l2` on the KV volume; both are 0 where its counters do not show it.
    """

    computed: int
    prefix_cache: int
    shared: int
    l1: int = 0
    l2: int = 0
    mm_cache_hits: int | None = None  # media that were preprocessed before, which is not KV; None if not reported

    @property
    def label(self) -> str:
        """The source that the cached tokens came from, in a word or two."""
        parts = []
        if self.prefix_cache:
            parts.append("own prefix cache")
        if self.shared:
            tiers = [name for name, tokens in (("memory", self.l1), ("volume", self.l2)) if tokens]
            parts.append(f"shared {' + '.join(tiers)}" if tiers else "shared")
        return " + ".join(parts) or "computed"


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """Seconds by the engine's own clock: in its queue, then to the first token, then to the last.

    From vLLM's `--enable-per-request-metrics`. `ttft` does not include the queue.
    """

    queue: Second
    ttft: Second
    generation: Second | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One finished answer. `0 < ttft <= e2el`; times in seconds from just before the send."""

    engine: str
    text: str
    ttft: Second
    itl: tuple[Second, ...]  # between chunks with text, as vLLM counts inter-token latency
    e2el: Second  # until the last chunk with text
    usage: Usage
    sources: Sources | None = None  # None if other requests were in flight, or the counters could not be read
    logprobs: tuple[TokenLogprobs, ...] = ()  # of each token, if they were asked for
    server: ServerTimes | None = None
    text_tokens: int | None = None  # of the same prompt without its media; None if not counted
    before_media: int | None = None  # of these, those before the media

    @classmethod
    def of(
        cls,
        engine: str,
        deltas: Sequence[Delta],
        usage: Usage,
        sources: Sources | None = None,
        logprobs: Sequence[TokenLogprobs] = (),
        server: ServerTimes | None = None,
    ) -> Reply:
        """Raises EmptyReply when no chunk carried text."""
        if not deltas:
            raise EmptyReply(
                engine, "the stream ended before any text, so there is no TTFT; ask again, or something else"
            )
        at = [delta.at for delta in deltas]
        gaps = tuple(later - sooner for sooner, later in pairwise(at))
        text = "".join(delta.text for delta in deltas if not delta.reasoning)
        return cls(engine, text, at[0], gaps, at[-1], usage, sources, tuple(logprobs), server)

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
        """The prompt's tokens of media; None if they were not counted."""
        return None if self.text_tokens is None else self.usage.prompt_tokens - self.text_tokens

    @property
    def source(self) -> str:
        """Where the cached tokens came from, in words, if that is certain."""
        if self.sources:
            return self.sources.label
        return "computed" if self.usage.cached_tokens == 0 else "not attributed"

    def to_json(self) -> dict[str, object]:
        """Field names and units as `vllm bench serve` has them: milliseconds in the flat fields, seconds in `itls`."""
        sources, server = self.sources, self.server
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
        }
