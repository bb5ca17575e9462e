"""What can go wrong, outermost first.

ArenaError
├── ConfigError              the settings do not describe a runnable stack
├── DocumentError            a context document is not text, is empty, or is too large
│   ├── ContextTooLong       it has more tokens than the model takes
│   └── NotTokenized         the engine's tokenizer does not take it, or there is none
├── MediaError               a picture, film or sound cannot be fetched, is not whole, or is too large
├── ResultError              a result cannot be read or written
├── StackError               the services cannot be started, found or stopped
└── EngineError              one engine failed one request; names the engine
    ├── EngineUnreachable    no HTTP answer: down, starting or restarting
    ├── EngineRefused        an HTTP answer that is no success, or no stream
    ├── StreamBroken         the answer stopped in the middle, or is none; the caller has what came before
    └── EmptyReply           the stream ended before any text: a failure, never a TTFT of zero
"""

from __future__ import annotations

from enum import StrEnum


class ArenaError(Exception):
    """Shown as one line instead of a trace: `fact` is what is wrong, `hint` what to do next, which may be empty."""

    def __init__(self, fact: str, *, hint: str = "") -> None:
        super().__init__(f"{fact}: {hint}" if hint else fact)
        self.fact, self.hint = fact, hint


class ConfigError(ArenaError):
    """A setting is missing, unknown or out of range."""


class DocumentError(ArenaError):
    """Not text, empty, or over the size limit."""


class ContextTooLong(DocumentError):
    """The prompt has more `tokens` than the `limit` that the model leaves for it beside the answer."""

    def __init__(
        self, tokens: int, limit: int, *, hint: str = "give a shorter document, or let it be cut (--cut)"
    ) -> None:
        fact = f"the prompt has {tokens:,} tokens, {tokens - limit:,} more than the {limit:,} the model leaves for it"
        super().__init__(fact, hint=hint)
        self.tokens, self.limit = tokens, limit


class RefusalKind(StrEnum):
    """What a refusal is about, where that changes what comes next (client/vllm_errors.py)."""

    OTHER = "other"
    MEDIA = "media"  # the model takes no such media, or not so many
    HOST = "host"  # media from a host that the server does not fetch from
    SYSTEM_ROLE = "system role"  # the chat template has none
    FIELD = "field"  # of the request, which the server does not know


class NotTokenized(DocumentError):
    """The tokenizer refused a prompt with an HTTP `status`, in the words `server_text`."""

    def __init__(self, fact: str, *, status: int, server_text: str, kind: RefusalKind = RefusalKind.OTHER) -> None:
        super().__init__(fact)
        self.status, self.server_text, self.kind = status, server_text, kind


class MediaError(ArenaError):
    """A picture, film or sound that cannot be fetched, read or sent."""


class ResultError(ArenaError):
    """A result that cannot be read or written."""


class StackError(ArenaError):
    """A service failed to start, or the stack is not in the state that a command needs."""


class EngineError(ArenaError):
    """One engine failed one request. `server_text` is in the server's own words, and may be empty."""

    def __init__(self, engine: str, fact: str, *, server_text: str = "", hint: str = "") -> None:
        super().__init__(f"{engine}: {fact}", hint=hint)
        self.engine, self.server_text = engine, server_text


class EngineUnreachable(EngineError):
    """No HTTP answer came, or none went on."""


class EngineRefused(EngineError):
    """The engine answered with an HTTP error, or with something that is no stream."""

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
    """The stream stopped before its end, or what came is no answer."""


class EmptyReply(EngineError):
    """The stream ended before any generated text."""
