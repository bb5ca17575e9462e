"""What a server says when it does not give what was asked for: the one place where foreign words are read.

They are read once, as the answer comes in; from then on an error's `status` and `kind` say what they were about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from config.errors import EngineRefused, NotTokenized, RefusalKind
from config.topology import Engine

MAX_SHOWN = 300  # characters of a server's words
TOO_MANY, ALLOWED = "may be provided in one prompt", "one of the allowed domains"
NO_MEDIA = "is not a multimodal model"
KIND_BY_TEXT = {TOO_MANY: RefusalKind.MEDIA, NO_MEDIA: RefusalKind.MEDIA, ALLOWED: RefusalKind.HOST}  # vLLM's words
HINT_BY_TEXT = {
    TOO_MANY: "give fewer, or choose a MODEL that takes them",
    NO_MEDIA: "choose a MODEL that takes media",
    ALLOWED: "name the host in ALLOWED_MEDIA_DOMAINS, or send the file itself",
}
SYSTEM_ROLE = re.compile(r"system.{0,20}(role|message|prompt)|role.{0,40}system|roles must alternate", re.IGNORECASE)
UNKNOWN = re.compile(
    r"un(supported|recogni[sz]ed|known|expected)|not (be )?(supported|permitted|allowed|recogni[sz]ed)|extra",
    re.IGNORECASE,
)
OPTIONAL = re.compile(
    r"\b(max_tokens|stream_options|include_usage|seed|temperature|ignore_eos|min_tokens|top_logprobs|logprobs)\b"
)


def refusal_error(engine: Engine, status: int, body: bytes, reason: str = "", location: str = "") -> EngineRefused:
    """An answer that is no success, or no stream: its words, what they are about, and the next step where it is known.

    `reason` and `location` are HTTP's: what counts for an answer without words, and for one that sends one on.
    """
    said = error_text(body, engine) or one_line(reason)
    if location:
        said = f"it sends one on to {one_line(location)}; give that address"
    kind, hint = _kind(status, said), _hint(engine, status, said)
    fact = f"HTTP {status}: {said.rstrip('.') if hint else said}"
    if 200 <= status < 300:
        fact = f"HTTP {status}, and no stream: {said or 'nothing'}"
    return EngineRefused(engine.name, fact, status=status, said=said, hint=hint, kind=kind)


def tokenizer_error(engine: Engine, status: int, body: bytes) -> EngineRefused | NotTokenized:
    """Media that the model does not take, and a failure, are the engine's refusal; all else is about the text."""
    refusal = refusal_error(engine, status, body)
    if status >= 500 or refusal.kind in (RefusalKind.MEDIA, RefusalKind.HOST) or status in (401, 403):
        return refusal
    fact = f"{engine.name} cannot tokenize this text: {refusal.said or f'HTTP {status}'}"
    return NotTokenized(fact, status=status, said=refusal.said, kind=refusal.kind)


def rejects_system_role(exc: EngineRefused | NotTokenized) -> bool:
    """Whether a prompt without a system message may be taken where this one was refused."""
    return exc.status == 400 or exc.kind is RefusalKind.SYSTEM_ROLE


def stream_error(chunk: Mapping[str, Any]) -> bool:
    """Whether an event's JSON is an error in place of a chunk."""
    if "choices" in chunk and not chunk.get("error"):
        return False
    return bool(chunk.get("error")) or chunk.get("object") == "error" or bool({"message", "detail"} & chunk.keys())


def error_text(body: bytes, engine: Engine | None = None) -> str:
    """The words of an error's JSON, or of what stands in its place: one line, cut, and without the engine's key."""
    text = body.decode(errors="replace")
    try:
        said = _said(json.loads(text))
    except (ValueError, RecursionError):
        said = ""
    return one_line(said or text, engine)


def one_line(text: str, engine: Engine | None = None) -> str:
    """Foreign text that can be shown: without control characters and halves of characters, and cut."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * MAX_SHOWN]).split())
    if engine and engine.key:
        line = line.replace(engine.key.get_secret_value(), "***")
    return line[:MAX_SHOWN]


def _said(told: object) -> str:
    """OpenAI's `error.message`, FastAPI's `detail` with the field's name, or a `message`; empty where there is none."""
    for _ in range(4):
        if isinstance(told, list):
            told = told[0] if told else ""
        if not isinstance(told, dict):
            break
        if isinstance(told.get("loc"), list) and "msg" in told:
            return f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
        told = told.get("error") or told.get("message") or told.get("detail") or ""
    return told if isinstance(told, str) else ""


def _kind(status: int, said: str) -> RefusalKind:
    if kind := next((kind for known, kind in KIND_BY_TEXT.items() if known in said), None):
        return kind if 400 <= status < 500 else RefusalKind.OTHER
    if SYSTEM_ROLE.search(said):
        return RefusalKind.SYSTEM_ROLE
    return RefusalKind.FIELD if status in (400, 422) and _field(said) else RefusalKind.OTHER


def _field(said: str) -> str:
    """The field of ours that the server says it does not take; empty where it says no such thing."""
    found = OPTIONAL.search(said) if UNKNOWN.search(said) else None
    return found[1] if found else ""


def _hint(engine: Engine, status: int, said: str) -> str:
    if step := next((step for known, step in HINT_BY_TEXT.items() if known in said), ""):
        return step
    if engine.ours:
        return engine.if_failed if status >= 500 else ""
    if status in (401, 403):
        return "it does not take the key in OPENAI_API_KEY" if engine.key else "set OPENAI_API_KEY to its key"
    if (field := _field(said)) and status in (400, 422):
        left_out = "stream_options" if field == "include_usage" else field
        other = ', "max_completion_tokens": N' if field == "max_tokens" else ""
        return f"""--extra-body '{{"{left_out}": null{other}}}' leaves it out"""
    return ""
