"""Reads the chunks of a streamed answer. The server's JSON is untrusted.

A structure that differs from OpenAI's API raises MalformedChunk and no other exception. `null` counts as absent. This
code runs while TTFT is measured, so the common case is checked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from client.reply import ServerTimes, TokenLogprobs, Usage

Chunk = Mapping[str, Any]
MAX_COUNT = 2**53  # a float represents every integer up to here exactly


class MalformedChunk(ValueError):
    """A chunk does not have the structure of OpenAI's API."""


def chunk_texts(chunk: Chunk) -> list[tuple[str, bool]]:
    """Returns the generated texts of a chunk, each with True if it is reasoning. Raises MalformedChunk.

    The list is empty for a chunk that has only a role, only usage, or nothing.
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
    if isinstance(content, str) and not calls and not thought:  # nearly every chunk
        return ((content, False),) if content else ()
    answer = _text(content or "") + _call_text(calls or ())
    return [part for part in ((_text(thought), True), (_thinking(content), True), (answer, False)) if part[0]]


def _text(content: Any) -> str:
    """Returns the text of a string, or of the text parts in a list."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise TypeError
    return "".join(part if isinstance(part, str) else _text(part.get("text")) for part in content if part is not None)


def _thinking(content: Any) -> str:
    """Returns the reasoning of the `thinking` parts in a list, which Mistral's models send."""
    parts = content if isinstance(content, list) else ()
    return "".join(_text(part["thinking"]) for part in parts if isinstance(part, dict) and "thinking" in part)


def _call_text(calls: Any) -> str:
    functions = [call.get("function") or {} for call in calls if call is not None]
    return "".join(_text(function.get("name")) + _text(function.get("arguments")) for function in functions)


class SurrogateJoiner:
    """Joins characters that a server has split: in JSON, a chunk may end with half of a surrogate pair."""

    def __init__(self) -> None:
        self._held = ""

    def join(self, text: str) -> str:
        """Returns the text. Keeps a half at the end for the next call; a half without its partner becomes U+FFFD."""
        if not self._held and text.isascii():
            return text
        text, self._held = self._held + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def read_usage(chunks: Sequence[Any]) -> Usage | None:
    """Returns the last usage that counts the tokens of both prompt and answer, or None."""
    return next((usage for each in reversed(chunks) if (usage := _usage(each))), None)


def _usage(given: Any) -> Usage | None:
    if not isinstance(given, dict):
        return None
    prompt = _count(given, "prompt_tokens", "input_tokens")
    completion = _count(given, "completion_tokens", "output_tokens")
    if prompt is None or completion is None:
        return None
    details = given.get("prompt_tokens_details") or given.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    return Usage(prompt, completion, cached if cached is not None and cached <= prompt else None)


def _count(given: Mapping[str, Any], *names: str) -> int | None:
    """Returns the number of tokens under one of these names; None if there is none, or if two names disagree."""
    found = {given[name] for name in names if isinstance(given.get(name), int | float)}
    if len(found) != 1 or any(isinstance(given.get(name), bool) for name in names):
        return None
    [value] = found
    return int(value) if 0 <= value < MAX_COUNT and value == int(value) else None


def read_server_times(metrics: Any) -> ServerTimes | None:
    """Reads vLLM's `metrics`; returns None if their structure is different. Times become seconds."""
    if not isinstance(metrics, dict):
        return None
    names = ("queue_time_ms", "time_to_first_token_ms", "generation_time_ms")
    queue, ttft, generation = (_seconds(metrics.get(name)) for name in names)
    return None if queue is None or ttft is None else ServerTimes(queue, ttft, generation)


def _seconds(ms: Any) -> float | None:
    return ms / 1e3 if _is_number(ms) and ms >= 0 else None


def read_logprobs(chunk: Chunk) -> list[TokenLogprobs]:
    """Returns the log-probabilities of each token in a chunk.

    Raises MalformedChunk if any cannot be read: leaving out one token would shift all later ones.
    """
    try:
        contents = [(choice.get("logprobs") or {}).get("content") for choice in chunk.get("choices") or () if choice]
        return [
            TokenLogprobs(_encodable(token["token"]), dict(_candidates(token["top_logprobs"])))
            for token in chain.from_iterable(content or () for content in contents)
        ]
    except (TypeError, AttributeError, LookupError) as exc:
        raise MalformedChunk("its log-probabilities are not as the API has them") from exc


def _candidates(given: Any) -> Iterator[tuple[str, float]]:
    """Yields the candidates of one token. Leaves out non-finite log-probabilities, which damaged KV causes."""
    for candidate in given:
        if _is_number(candidate["logprob"]):
            yield _encodable(candidate["token"]), candidate["logprob"]


def _encodable(token: Any) -> str:
    """Returns the token with lone surrogates replaced: a token may be half a character."""
    return _text(token).encode(errors="replace").decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_COUNT
