"""Interprets a server's error messages; no other module does.

This happens once, when the answer arrives. Later code uses only the `status` and `kind` of the error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from client.prompt import Prompt
from config.errors import EngineRefused, NotTokenized, RefusalKind
from config.topology import Engine

MAX_SHOWN = 300  # characters of a server's message
KNOWN_TEXTS = {  # parts of vLLM's messages, with the kind of refusal and a hint
    "may be provided in one prompt": (RefusalKind.MEDIA, "give fewer, or choose a MODEL that takes them"),
    "is not a multimodal model": (RefusalKind.MEDIA, "choose a MODEL that takes media"),
    "one of the allowed domains": (
        RefusalKind.HOST,
        "name the host in ALLOWED_MEDIA_DOMAINS, or send the file itself",
    ),
}
SYSTEM_ROLE = re.compile(r"system.{0,20}(role|message|prompt)|role.{0,40}system|roles must alternate", re.IGNORECASE)
UNKNOWN = re.compile(
    r"un(supported|recogni[sz]ed|known|expected)|not (be )?(supported|permitted|allowed|recogni[sz]ed)|extra",
    re.IGNORECASE,
)
OPTIONAL = re.compile(
    r"\b(max_tokens|stream_options|include_usage|seed|temperature|ignore_eos|min_tokens|top_logprobs|logprobs)\b"
)
Result = TypeVar("Result")


def refusal_error(engine: Engine, status: int, body: bytes, reason: str = "", location: str = "") -> EngineRefused:
    """Returns the error for an HTTP error, or for an answer that is not a stream, with its kind and, if known, a hint.

    `reason` is the HTTP reason phrase, used if `body` has no message; `location` is the target of a redirect.
    """
    text = error_text(body, engine) or one_line(reason)
    if location:
        text = f"it redirects to {one_line(location)}; give that address"
    kind, hint = _interpret(engine, status, text)
    if 200 <= status < 300:
        fact = f"HTTP {status}, and no stream: {text or 'nothing'}"
    else:
        fact = f"HTTP {status}: {text.rstrip('.') if hint else text}"
    return EngineRefused(engine.name, fact, status=status, server_text=text, hint=hint, kind=kind)


def tokenizer_error(engine: Engine, status: int, body: bytes) -> EngineRefused | NotTokenized:
    """Returns EngineRefused for refused media, a wrong key or a server failure, and otherwise NotTokenized."""
    refusal = refusal_error(engine, status, body)
    if status >= 500 or refusal.kind in (RefusalKind.MEDIA, RefusalKind.HOST) or status in (401, 403):
        return refusal
    text = refusal.server_text
    fact = f"{engine.name} cannot tokenize this text: {text or f'HTTP {status}'}"
    return NotTokenized(fact, status=status, server_text=text, kind=refusal.kind)


async def with_any_template(prompt: Prompt, attempt: Callable[[Prompt], Awaitable[Result]]) -> tuple[Prompt, Result]:
    """Calls `attempt` with the prompt and, if the system message may be the cause of a refusal, without one.

    Some chat templates (Gemma's, some of Mistral's) refuse a system message. Returns the prompt that succeeded and its
    result. Raises what `attempt` raises.
    """
    try:
        return prompt, await attempt(prompt)
    except (EngineRefused, NotTokenized) as exc:
        if prompt.no_system_role or not rejects_system_role(exc):
            raise
        other = replace(prompt, no_system_role=True)
        try:
            return other, await attempt(other)
        except (EngineRefused, NotTokenized) as second:
            raise (second if exc.kind is RefusalKind.SYSTEM_ROLE else exc) from None


def rejects_system_role(exc: EngineRefused | NotTokenized) -> bool:
    """Returns whether the same prompt may succeed without a system message."""
    about_media = exc.kind in (RefusalKind.MEDIA, RefusalKind.HOST)
    return exc.kind is RefusalKind.SYSTEM_ROLE or (exc.status == 400 and not about_media)


def stream_error(chunk: Mapping[str, Any]) -> bool:
    """Returns whether an event's JSON is an error instead of a chunk."""
    if "choices" in chunk and not chunk.get("error"):
        return False
    return bool(chunk.get("error")) or chunk.get("object") == "error" or bool({"message", "detail"} & chunk.keys())


def error_text(body: bytes, engine: Engine | None = None) -> str:
    """Returns the message in an error's JSON, or otherwise the body, as `one_line` without the engine's key."""
    text = body.decode(errors="replace")
    try:
        message = _message(json.loads(text))
    except (ValueError, RecursionError):
        message = ""
    return one_line(message or text, engine)


def one_line(text: str, engine: Engine | None = None) -> str:
    """Returns one printable line of untrusted text: at most MAX_SHOWN characters, without the key of `engine`."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * MAX_SHOWN]).split())
    if engine and engine.key:
        line = line.replace(engine.key.get_secret_value(), "***")
    return line[:MAX_SHOWN]


def _message(error: object) -> str:
    """Returns OpenAI's `error.message`, FastAPI's `detail` with the field's name, a `message`, or an empty text."""
    for _ in range(4):
        if isinstance(error, list):
            error = error[0] if error else ""
        if not isinstance(error, dict):
            break
        if isinstance(error.get("loc"), list) and "msg" in error:
            return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
        error = error.get("error") or error.get("message") or error.get("detail") or ""
    return error if isinstance(error, str) else ""


def _interpret(engine: Engine, status: int, text: str) -> tuple[RefusalKind, str]:
    """Returns the kind of a refusal, and a hint, which may be empty."""
    for words, (kind, hint) in KNOWN_TEXTS.items():
        if words in text:
            return kind if 400 <= status < 500 else RefusalKind.OTHER, hint
    kind, field = RefusalKind.OTHER, None
    if status in (400, 422) and UNKNOWN.search(text):
        field = OPTIONAL.search(text)  # a field of the request that the server does not support
    if SYSTEM_ROLE.search(text):
        kind = RefusalKind.SYSTEM_ROLE
    elif field:
        kind = RefusalKind.FIELD
    if engine.ours:
        return kind, engine.if_failed if status >= 500 else ""
    if status in (401, 403):
        return kind, "it does not take the key in OPENAI_API_KEY" if engine.key else "set OPENAI_API_KEY to its key"
    return kind, _leave_out(field[1]) if field else ""


def _leave_out(field: str) -> str:
    name = "stream_options" if field == "include_usage" else field
    other = ', "max_completion_tokens": N' if field == "max_tokens" else ""
    return f"""--extra-body '{{"{name}": null{other}}}' leaves it out"""
