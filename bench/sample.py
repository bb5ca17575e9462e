"""One request as a row of the result: what was sent, whether it counts, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from bench.plan import Trial, TrialStep
from client.reply import Reply
from config.errors import EngineUnreachable

WAKE_UP_S = 0.0005  # longest gap between two chunks that this client had already received


class TokenRow(BaseModel):
    """One generated token and the log-probabilities (nats) of the most likely candidates at its position."""

    model_config = ConfigDict(frozen=True)
    token: str
    best: Mapping[str, float]


class Sample(BaseModel):
    """One request for one document in one arm: a flat row, read back from the result when a run is resumed.

    Names and units are those of `vllm bench serve`: milliseconds in flat fields that end in `_ms`, seconds in `itls`.
    A value that was not measured is None.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    document: int
    arm: str
    engine: str
    input_len: int
    position: int  # of this arm in the order of its document's arms
    nonce: str
    started_s: float  # since the run began
    reason: str = ""  # why the sample does not count; empty if it does
    error: str = ""  # the class of the error that ended the request (config/errors.py)
    ttft_ms: float | None = None
    mean_itl_ms: float | None = None
    tpot_ms: float | None = None
    e2el_ms: float | None = None
    itls: tuple[float, ...] = ()
    modality: str = ""  # of the media in the prompt; empty without media
    prompt_tokens: int | None = None
    media_tokens: int | None = None  # tokens that the media add to the prompt
    before_media_tokens: int | None = None  # tokens of text before the media
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cached_tokens_details: Mapping[str, int] | None = None
    mm_cache_hits: int | None = None  # media found in the engine's processor cache, which contains no KV
    source: str | None = None  # where the cached tokens came from, in words
    server_queue_ms: float | None = None  # by the engine's own clock, like the next two fields
    server_ttft_ms: float | None = None  # from leaving the engine's queue to the first token
    server_generation_ms: float | None = None  # from the first token to the last
    server_total_ttft_ms: float | None = None  # from the request's arrival at the API server to its first token there
    lookup_ms: float | None = None  # until the cache server answered; includes loading from the volume to its memory
    volume_gb_per_s: float | None = None  # of that loading, decryption included
    copy_gb_per_s: float | None = None  # from the cache server's memory to the engine
    loaded_bytes: int | None = None  # bench budget: of the document's files, which are read and decrypted once more
    in_page_cache: bool | None = None  # bench budget: whether all of these files were, before the request
    read_beside_ms: float | None = None  # bench budget: that reading
    decryption_beside_ms: float | None = None  # bench budget: that decryption; 0 without a serde
    queue_ms: float | None = None  # under load: wait in the client, included in TTFT and E2EL
    cpu_ms: float | None = None  # CPU time of the client's process in a block, divided by the block's requests
    ended_s: float | None = None  # under load: since the run began; also set if the request failed
    stored_s: float | None = None  # from the end of the answer until all chunks were on the volume
    text: str | None = None
    logprobs: tuple[TokenRow, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def valid(self) -> bool:
        """Whether the sample counts."""
        return not self.reason

    @property
    def unanswered(self) -> bool:
        """Whether the engine was unreachable, so that the sample is no evidence about it."""
        return self.error == EngineUnreachable.__name__

    @property
    def text_tokens(self) -> int | None:
        """Tokens of the prompt without its media; None if they were not counted."""
        if self.prompt_tokens is None or self.media_tokens is None:
            return None
        return self.prompt_tokens - self.media_tokens

    @property
    def in_one_burst(self) -> bool:
        """Whether all tokens arrived together, which means that the first one was ready before it arrived.

        If the engine reports its generation time, a burst is an answer that arrived in less than half of that time.
        Otherwise it is one whose tokens all arrived in one wake-up of the client.
        """
        if len(self.itls) < 3:
            return False
        if self.server_generation_ms is not None:
            return sum(self.itls) * 1e3 < self.server_generation_ms / 2
        return max(self.itls) < WAKE_UP_S

    @classmethod
    def of(
        cls,
        trial: Trial,
        step: TrialStep,
        nonce: str,
        started_s: float,
        reason: str,
        reply: Reply | None = None,
        **more: Any,
    ) -> Sample:
        """Builds the sample from the request that was sent and its reply."""
        position = trial.steps.index(step)
        measured = reply.to_json() if reply else {}
        tokens = [{"token": token.token, "best": token.best} for token in reply.logprobs] if reply else []
        return cls.model_validate(
            {
                **measured,
                "document": trial.document,
                "arm": step.arm.name,
                "modality": step.arm.modality,
                "engine": step.engine.name,
                "input_len": trial.input_len,
                "position": position,
                "nonce": nonce,
                "started_s": started_s,
                "reason": reason,
                "logprobs": tokens,
                **more,
            }
        )
