"""A chunk of a foreign server's JSON, read: what is of another shape than OpenAI's is Malformed, and nothing else.

`null` is taken for absent, as servers mean it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from client.reply import ServerTimes, TokenLogprobs, Usage

Chunk = Mapping[str, Any]
MAX_COUNT = 2**53  # a whole number that a float still has


class MalformedChunk(ValueError):
    """A chunk has another shape than OpenAI's API gives it."""


def chunk_texts(chunk: Chunk) -> list[tuple[str, bool]]:
    """The generated texts of a chunk, each with whether it is reasoning. Raises Malformed.

    Chunks with a role alone, with usage, and empty ones have none.
    """
    found = list[tuple[str, bool]]()
    try:
        for choice in chunk.get("choices") or ():
            if choice is not None:
                found += _texts(choice)
    except (TypeError, AttributeError, LookupError, RecursionError) as exc:
        raise MalformedChunk("its choices are not as the API has them") from exc
    return found


def _texts(choice: Any) -> Iterable[tuple[str, bool]]:
    delta = choice.get("delta")
    if delta is None:
        if choice.get("message"):
            raise MalformedChunk("it is a whole answer, and no stream")
        return ()
    content, calls = delta.get("content"), delta.get("tool_calls")
    thought = delta.get("reasoning") or delta.get("reasoning_content")
    if isinstance(content, str) and not calls and not thought:  # as nearly all are
        return ((content, False),) if content else ()
    found = [(_text(thought), True), (_thinking(content), True), (_text(content or "") + _called(calls or ()), False)]
    return [part for part in found if part[0]]


def _text(content: Any) -> str:
    """Of a string, or of the text parts in a list."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise TypeError
    return "".join(part if isinstance(part, str) else _text(part.get("text")) for part in content if part is not None)


def _thinking(content: Any) -> str:
    """Of the parts that are Mistral's for reasoning."""
    parts = content if isinstance(content, list) else ()
    return "".join(_text(part["thinking"]) for part in parts if isinstance(part, dict) and "thinking" in part)


def _called(calls: Any) -> str:
    functions = [call.get("function") or {} for call in calls if call is not None]
    return "".join(_text(function.get("name")) + _text(function.get("arguments")) for function in functions)


class SurrogateJoiner:
    """Puts together characters that a server has cut in two: JSON can carry half of a surrogate pair in a chunk."""

    def __init__(self) -> None:
        self._held = ""

    def whole(self, text: str) -> str:
        """The text up to a last half, which is held back for the next; a half that stays alone becomes U+FFFD."""
        if not self._held and (text.isascii() or not _has_half(text)):
            return text
        text, self._held = self._held + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _has_half(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def read_usage(chunks: Sequence[Any]) -> Usage | None:
    """The last `usage` that tells both of a prompt's and an answer's tokens; None where none does."""
    return next((usage for told in reversed(chunks) if (usage := _usage(told))), None)


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, dict):
        return None
    prompt, completion = (
        _count(told, "prompt_tokens", "input_tokens"),
        _count(told, "completion_tokens", "output_tokens"),
    )
    if prompt is None or completion is None:
        return None
    details = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    return Usage(prompt, completion, cached if cached is not None and cached <= prompt else None)


def _count(told: Mapping[str, Any], *names: str) -> int | None:
    """The number of tokens under one of these names; None where there is none, or where two of them differ."""
    found = {told[name] for name in names if isinstance(told.get(name), int | float)}
    if len(found) != 1 or any(isinstance(told.get(name), bool) for name in names):
        return None
    [value] = found
    return int(value) if 0 <= value < MAX_COUNT and value == int(value) else None


def read_server_times(told: Any) -> ServerTimes | None:
    """Of vLLM's `metrics`; None where they have another shape."""
    if not isinstance(told, dict):
        return None
    names = ("queue_time_ms", "time_to_first_token_ms", "generation_time_ms")
    queue, ttft, generation = (_seconds(told.get(name)) for name in names)
    return None if queue is None or ttft is None else ServerTimes(queue, ttft, generation)


def _seconds(ms: Any) -> float | None:
    return ms / 1e3 if _is_number(ms) and ms >= 0 else None


def read_logprobs(chunk: Chunk) -> list[TokenLogprobs]:
    """Of each token in a chunk. Raises Malformed, for a token that is left out would move all that follow."""
    try:
        told = [(choice.get("logprobs") or {}).get("content") for choice in chunk.get("choices") or () if choice]
        return [_token(token) for token in chain.from_iterable(tokens or () for tokens in told)]
    except (TypeError, AttributeError, LookupError) as exc:
        raise MalformedChunk("its log-probabilities are not as the API has them") from exc


def _token(token: Any) -> TokenLogprobs:
    return TokenLogprobs(_whole(token["token"]), dict(_candidates(token["top_logprobs"])))


def _candidates(told: Any) -> Iterator[tuple[str, float]]:
    """Ruined KV gives probabilities that are no numbers: such a token is no candidate."""
    for candidate in told:
        if _is_number(candidate["logprob"]):
            yield _whole(candidate["token"]), candidate["logprob"]


def _whole(token: Any) -> str:
    """A token may be half a character."""
    return _text(token).encode(errors="replace").decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_COUNT
