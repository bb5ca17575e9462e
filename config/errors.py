"""What can go wrong, outermost first. A message says the subject, the fact and the next step.

ArenaError
├── ConfigError              the settings do not describe a runnable stack
├── DocumentError            a context document cannot be used
│   ├── ContextTooLong       it has more tokens than the model takes
│   └── NotTokenized         the engine's tokenizer does not take it, or there is none
├── MediaError               a picture, film or sound cannot be had, is not whole, or is too large
├── ResultError              a result cannot be read or written
├── StackError               the services cannot be started, found or stopped
└── EngineError              one engine failed one request; names the engine
    ├── EngineUnreachable    no HTTP answer: down, starting or restarting
    ├── EngineRefused        an HTTP answer that is no success, or no stream
    ├── StreamBroken         the answer stopped in the middle
    └── EmptyReply           the stream ended before any text, so no TTFT exists
"""

from __future__ import annotations

from enum import StrEnum


class ArenaError(Exception):
    """Anything that is shown to a person as one line instead of a trace."""


class ConfigError(ArenaError):
    """A setting is missing, unknown or out of range: the `fact`, and in `hint` what to do next, which may be empty."""

    def __init__(self, fact: str, *, hint: str = "") -> None:
        super().__init__(f"{fact}: {hint}" if hint else fact)
        self.fact, self.hint = fact, hint


class DocumentError(ArenaError):
    """Not text, empty, or over the size limit."""


class ContextTooLong(DocumentError):
    """The prompt and the answer's room together exceed the model's context."""

    def __init__(self, tokens: int, limit: int) -> None:
        """`tokens` the whole prompt takes; `limit` that the model leaves for it."""
        self.tokens, self.limit = tokens, limit
        super().__init__(self._fact("give a shorter document, or let it be cut (--cut)"))

    def with_remedy(self, remedy: str) -> ContextTooLong:
        """The same with another next step: a page has no --cut."""
        other = ContextTooLong(self.tokens, self.limit)
        other.args = (self._fact(remedy),)
        return other

    def _fact(self, remedy: str) -> str:
        over = self.tokens - self.limit
        room = f"the {self.limit:,} the model leaves for it"
        return f"the prompt has {self.tokens:,} tokens, {over:,} more than {room}: {remedy}"


class RefusalKind(StrEnum):
    """What a server's words of refusal are about, as far as that changes what comes next (client/vllm_errors.py)."""

    OTHER = "other"
    MEDIA = "media"  # the model takes no such media, or not so many
    HOST = "host"  # media from a host that the server does not fetch from
    SYSTEM_ROLE = "system role"  # the chat template has none
    FIELD = "field"  # of the request, which the server does not know


class NotTokenized(DocumentError):
    """The tokenizer refused a prompt: `status` of HTTP, the server's words `said`, and their `kind`."""

    def __init__(self, fact: str, *, status: int, said: str, kind: RefusalKind = RefusalKind.OTHER) -> None:
        super().__init__(fact)
        self.status, self.said, self.kind = status, said, kind


class MediaError(ArenaError):
    """A picture, film or sound that cannot be had, read or sent."""


class ResultError(ArenaError):
    """A result that cannot be read or written."""


class StackError(ArenaError):
    """A service of the stack failed to start, or the stack is not in the state a command needs."""


class EngineError(ArenaError):
    """One engine failed one request: `said` in the server's own words, `hint` what to do next; both may be empty."""

    def __init__(self, engine: str, fact: str, *, said: str = "", hint: str = "") -> None:
        super().__init__(f"{engine}: {fact}: {hint}" if hint else f"{engine}: {fact}")
        self.engine, self.said, self.hint = engine, said, hint


class EngineUnreachable(EngineError):
    """No HTTP answer came, or none went on."""


class EngineRefused(EngineError):
    """The engine answered with an HTTP error, or with something that is no stream: `status` of HTTP."""

    def __init__(
        self,
        engine: str,
        fact: str,
        *,
        status: int = 0,
        said: str = "",
        hint: str = "",
        kind: RefusalKind = RefusalKind.OTHER,
    ) -> None:
        super().__init__(engine, fact, said=said, hint=hint)
        self.status, self.kind = status, kind


class StreamBroken(EngineError):
    """The stream stopped before its end, or what came is no answer; what came until then is with the caller."""


class EmptyReply(EngineError):
    """The stream ended before any generated text: a failure, never a TTFT of zero."""
