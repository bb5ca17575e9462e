"""The exception hierarchy of the arena.

ArenaError
├── ConfigError              the settings do not describe a runnable stack
├── DocumentError            a context document is not text, is empty, or is too large
│   ├── ContextTooLong       it has more tokens than the model accepts
│   └── NotTokenized         the engine's tokenizer refuses it, or the server has no tokenizer
├── MediaError               an image, video or sound cannot be fetched, is incomplete, or is too large
├── ResultError              a result cannot be read or written
├── StackError               the services cannot be started, found or stopped
└── EngineError              one engine failed one request; the message names the engine
    ├── EngineUnreachable    no HTTP answer: the engine is down, starting or restarting
    ├── EngineRefused        an HTTP answer with an error status, or one that is not a stream
    ├── StreamBroken         the stream broke off or is invalid; the caller already has the earlier chunks
    └── EmptyReply           the stream ended before any text: a failure, never a TTFT of zero
"""

from __future__ import annotations

from enum import StrEnum


class ArenaError(Exception):
    """An error that is shown as one line without a traceback.

    `fact` says what is wrong, `hint` what to do next; the hint may be empty.
    """

    def __init__(self, fact: str, *, hint: str = "") -> None:
        super().__init__(f"{fact}: {hint}" if hint else fact)
        self.fact, self.hint = fact, hint


class ConfigError(ArenaError):
    """A setting is missing, unknown or out of range."""


class DocumentError(ArenaError):
    """A context document is not text, is empty, or is over the size limit."""


class ContextTooLong(DocumentError):
    """The prompt has more `tokens` than `limit`, the model's context minus the room for the answer."""

    def __init__(
        self, tokens: int, limit: int, *, hint: str = "give a shorter document, or let it be cut (--cut)"
    ) -> None:
        fact = f"the prompt has {tokens:,} tokens, {tokens - limit:,} more than the {limit:,} the model leaves for it"
        super().__init__(fact, hint=hint)
        self.tokens, self.limit = tokens, limit


class RefusalKind(StrEnum):
    """Why a server refused a request, as far as callers react differently (see client/vllm_errors.py)."""

    OTHER = "other"
    MEDIA = "media"  # the model does not accept this kind of media, or not this many
    HOST = "host"  # the server may not fetch media from this host
    SYSTEM_ROLE = "system role"  # the chat template does not support a system message
    FIELD = "field"  # the server does not support a field of the request


class NotTokenized(DocumentError):
    """The tokenizer refused a prompt with HTTP `status`; `server_text` is the server's message."""

    def __init__(self, fact: str, *, status: int, server_text: str, kind: RefusalKind = RefusalKind.OTHER) -> None:
        super().__init__(fact)
        self.status, self.server_text, self.kind = status, server_text, kind


class MediaError(ArenaError):
    """An image, video or sound cannot be fetched, read or sent."""


class ResultError(ArenaError):
    """A result cannot be read or written."""


class StackError(ArenaError):
    """A service failed to start, or the stack is not in the state that a command needs."""


class EngineError(ArenaError):
    """One engine failed one request. `server_text` is the server's message and may be empty."""

    def __init__(self, engine: str, fact: str, *, server_text: str = "", hint: str = "") -> None:
        super().__init__(f"{engine}: {fact}", hint=hint)
        self.engine, self.server_text = engine, server_text


class EngineUnreachable(EngineError):
    """No HTTP answer arrived, or the answer stalled."""


class EngineRefused(EngineError):
    """The engine answered with an HTTP error, or with something that is not a stream."""

    def __init__(
        self,
        engine: str,
        fact: str,
        *,
        status: int = 0,
        server_text: str = "",
        hint: str = "",
        kind: RefusalKind = RefusalKind.OTHER,
    ) -> None:
        super().__init__(engine, fact, server_text=server_text, hint=hint)
        self.status, self.kind = status, kind


class StreamBroken(EngineError):
    """The stream stopped before its end, or has invalid content."""


class EmptyReply(EngineError):
    """The stream ended before any generated text."""
