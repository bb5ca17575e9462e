"""Counts a prompt's tokens, and cuts or fills it to a length, with vLLM's /tokenize and /detokenize."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TypeVar

import httpx
from pydantic import BaseModel, NonNegativeInt, ValidationError

from client.http_client import http_client
from client.prompt import Prompt
from client.vllm_errors import tokenizer_error, with_any_template
from config.errors import ConfigError, ContextTooLong, DocumentError, EngineUnreachable
from config.topology import Engine

TIMEOUT_S = 30.0  # large media take seconds
ReplyModel = TypeVar("ReplyModel", bound=BaseModel)


class _CountReply(BaseModel, strict=True):
    count: NonNegativeInt
    max_model_len: NonNegativeInt


class _TokenIds(BaseModel, strict=True):
    tokens: list[int]


class _DetokenizedText(BaseModel, strict=True):
    prompt: str


async def count_tokens(engine: Engine, prompt: Prompt) -> tuple[Prompt, int, int]:
    """Returns the prompt in a form that the chat template accepts, its number of tokens, and the limit for prompts.

    The limit leaves room for the answer. Raises EngineError if the engine does not answer or refuses the media, and
    DocumentError if it cannot tokenize.
    """
    prompt, (count, limit) = await with_any_template(prompt, lambda each: _count(engine, each))
    return prompt, count, limit


async def fit_to_context(engine: Engine, prompt: Prompt, *, cut: bool, tokens: int | None = None) -> Prompt:
    """Returns the prompt if it fits; with `cut`, shortens its document until it does.

    `tokens` may set a lower limit than the model's. Raises what `count_tokens` raises, and ContextTooLong if the prompt
    is too long and `cut` is False, or no document remains to cut.
    """
    prompt, count, limit = await count_tokens(engine, prompt)
    limit = min(limit, tokens or limit)
    while count > limit:
        if not cut or not prompt.document:
            raise ContextTooLong(count, limit)
        prompt = prompt.about(await _without_last_tokens(engine, prompt.document, count - limit))
        count, _ = await _count(engine, prompt)
    return prompt


async def _without_last_tokens(engine: Engine, text: str, less: int) -> str:
    """Returns the text without about its last `less` tokens, or an empty text. Raises what `count_tokens` raises."""
    ids = (await post_tokenizer(engine, "tokenize", {"prompt": text, "add_special_tokens": False}, _TokenIds)).tokens
    kept: dict[str, object] = {"tokens": ids[: max(0, len(ids) - less)]}
    return (await post_tokenizer(engine, "detokenize", kept, _DetokenizedText)).prompt


async def fill_to_length(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """Repeats and cuts the document so that the prompt has nearly `tokens` tokens, and never more.

    Raises what `count_tokens` raises, and ConfigError if `tokens` is over the model's limit.
    """
    prompt, count, limit = await count_tokens(engine, prompt)
    if tokens > limit:
        raise ConfigError(f"--input-len {tokens} is more than the {limit} tokens that the model leaves for a prompt")
    twice, _ = await _count(engine, prompt.about(f"{prompt.document}\n\n{prompt.document}"))
    repeats = max(1, (tokens - count) // max(1, twice - count) + 2)
    return await fit_to_context(engine, prompt.about("\n\n".join([prompt.document] * repeats)), cut=True, tokens=tokens)


async def tokens_around_media(engine: Engine, prompt: Prompt) -> tuple[int, int]:
    """Counts the prompt's text tokens: all of them, and those before the media and the question.

    The latter are the tokens that it shares with the same prompt with another question; media are left out of both.
    Raises what `count_tokens` raises.
    """
    bare = replace(prompt, media=())
    other = replace(bare, question="1" if bare.question.startswith("0") else "0")
    tokens, others = [
        (await post_tokenizer(engine, "tokenize", _chat_body(each), _TokenIds)).tokens for each in (bare, other)
    ]
    pairs = zip(tokens, others, strict=False)
    return len(tokens), sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


async def _count(engine: Engine, prompt: Prompt) -> tuple[int, int]:
    counted = await post_tokenizer(engine, "tokenize", _chat_body(prompt), _CountReply)
    return counted.count, counted.max_model_len - prompt.max_tokens


def _chat_body(prompt: Prompt) -> dict[str, object]:
    return {"messages": prompt.messages, "add_generation_prompt": True}


async def post_tokenizer(
    engine: Engine, path: str, body: dict[str, object], shape: type[ReplyModel], timeout_s: float = TIMEOUT_S
) -> ReplyModel:
    """Posts one request to the tokenizer and returns its answer. Raises what `count_tokens` raises."""
    try:
        async with http_client(timeout_s, engine) as http:
            answer = await http.post(f"{engine.url}/{path}", json={"model": engine.model, **body})
        return shape.model_validate_json(answer.raise_for_status().content)
    except httpx.HTTPStatusError as exc:
        raise tokenizer_error(engine, exc.response.status_code, exc.response.content) from exc
    except ValidationError as exc:
        raise DocumentError(f"{engine.name}: its /{path} does not answer as vLLM's does: name a vLLM server") from exc
    except (httpx.ReadTimeout, httpx.WriteTimeout) as exc:
        busy = f"no answer from /{path} within {timeout_s:g} s; it is busy, or the prompt is large: ask again"
        raise EngineUnreachable(engine.name, busy) from exc
    except httpx.HTTPError as exc:
        raise EngineUnreachable(engine.name, "no answer; it is down or still starting", hint=engine.if_down) from exc
