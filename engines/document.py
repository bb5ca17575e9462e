"""Context documents: read, bounded, counted with the engine's own tokenizer, cut to fit."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from engines import pdf
from engines.errors import ConfigError, ContextTooLong, DocumentError, EngineUnreachable, NotTokenized, Refusal
from engines.http import client
from engines.prompt import Prompt
from engines.refusal import not_tokenized, wants_another_form
from engines.text import decode, pdf_start
from engines.topology import Engine

HANDBOOK = Path(__file__).parent / "documents" / "ffmpeg.md"
BUILT_IN = tuple(sorted(HANDBOOK.parent.glob("*.md")))
LIMIT_BYTES = 2 * 2**20
STDIN = Path("-")
TIMEOUT_S = 30.0  # large media take seconds


class _Answer(BaseModel):
    """Of vLLM's tokenizer, as much as is used; a number is one, and not a word or a truth."""

    model_config = ConfigDict(strict=True)


class _Counted(_Answer):
    count: NonNegativeInt
    max_model_len: NonNegativeInt


class _Tokens(_Answer):
    tokens: list[int]


class _Text(_Answer):
    prompt: str


Answer = TypeVar("Answer", bound=BaseModel)


def read_document(path: Path) -> str:
    """The text of a PDF or of a text file, by what its bytes are; `-` is the standard input.

    A file is opened and read once, for a pipe has its bytes only once, and never beyond the limit. Raises
    DocumentError that says why there is no text.
    """
    try:
        name = path.name if path.is_file() else str(path)
        with os.fdopen(os.dup(0), "rb") if path == STDIN else path.open("rb") as file:
            raw = file.read(LIMIT_BYTES + 1)
            start = pdf_start(raw)
            if start is not None:
                raw += file.read(max(0, pdf.LIMIT_BYTES + 1 - len(raw)))
    except (OSError, ValueError) as exc:  # ValueError: no file has such a name
        raise DocumentError(f"{path} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
    if start is not None:
        return pdf.read(raw, start, name)
    if len(raw) > LIMIT_BYTES:
        raise DocumentError(f"{name} is over the limit of {LIMIT_BYTES // 2**20} MiB for text: take a part of it")
    return decode(raw, name)


async def _count(engine: Engine, prompt: Prompt) -> tuple[int, int]:
    counted = await post(engine, "tokenize", _chat(prompt), _Counted)
    return counted.count, counted.max_model_len - prompt.max_tokens


def _chat(prompt: Prompt) -> dict[str, object]:
    return {"messages": prompt.messages, "add_generation_prompt": True}


async def fit(engine: Engine, prompt: Prompt, *, cut: bool, tokens: int | None = None) -> Prompt:
    """The prompt, unchanged when it fits; with `cut`, its document shortened until it does.

    A chat template that refuses a system message (Gemma's, some of Mistral's) gets all in the user's. `tokens` asks for
    a prompt of at most so many instead of what the model takes. Raises ContextTooLong without `cut`, or when the
    question alone is too long.
    """
    prompt, count, limit = await accepted(engine, prompt)
    limit = min(limit, tokens or limit)
    while count > limit:
        if not cut or not prompt.document:
            raise ContextTooLong(count, limit)
        prompt = prompt.about(await head(engine, prompt.document, count - limit))
        count, _ = await _count(engine, prompt)
    return prompt


async def head(engine: Engine, text: str, less: int) -> str:
    """The text without its last `less` tokens or so; empty when it has no more."""
    ids = (await post(engine, "tokenize", {"prompt": text, "add_special_tokens": False}, _Tokens)).tokens
    return (await post(engine, "detokenize", {"tokens": ids[: max(0, len(ids) - less)]}, _Text)).prompt


async def of_length(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """The prompt with its document repeated and cut so that it has at most `tokens`, and nearly so many.

    Raises ConfigError when the model takes fewer.
    """
    prompt, count, limit = await accepted(engine, prompt)
    if tokens > limit:
        raise ConfigError(f"--input-len {tokens} is more than the {limit} tokens that the model leaves for a prompt")
    twice, _ = await _count(engine, prompt.about(f"{prompt.document}\n\n{prompt.document}"))
    repeats = max(1, (tokens - count) // max(1, twice - count) + 2)
    return await fit(engine, prompt.about("\n\n".join([prompt.document] * repeats)), cut=True, tokens=tokens)


async def accepted(engine: Engine, prompt: Prompt) -> tuple[Prompt, int, int]:
    """The prompt in a form that the model's chat template takes, its tokens, and the most that leaves room to answer.

    Raises EngineError when the engine does not answer, or refuses the media; DocumentError when it cannot tokenize.
    """
    try:
        return prompt, *await _count(engine, prompt)
    except NotTokenized as exc:
        if prompt.no_system_role or not wants_another_form(exc):
            raise
        other = replace(prompt, no_system_role=True)
        try:
            return other, *await _count(engine, other)
        except NotTokenized as again:
            raise (again if exc.kind is Refusal.SYSTEM_ROLE else exc) from None


async def around_media(engine: Engine, prompt: Prompt) -> tuple[int, int]:
    """Tokens of the prompt without its media: all, and those that stand before the media, so before the question.

    These are what it has in common with the same prompt of another question. Raises as `accepted` does.
    """
    bare = replace(prompt, media=())
    other = replace(bare, question="1" if bare.question.startswith("0") else "0")
    tokens, others = [(await post(engine, "tokenize", _chat(each), _Tokens)).tokens for each in (bare, other)]
    pairs = zip(tokens, others, strict=False)
    return len(tokens), sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


async def post(
    engine: Engine, path: str, body: dict[str, object], shape: type[Answer], patience: float = TIMEOUT_S
) -> Answer:
    """What vLLM's tokenizer answers. Raises as `accepted` does."""
    try:
        async with client(patience, engine) as http:
            answer = await http.post(f"{engine.url}/{path}", json={"model": engine.model, **body})
        return shape.model_validate_json(answer.raise_for_status().content)
    except httpx.HTTPStatusError as exc:
        raise not_tokenized(engine, exc.response.status_code, exc.response.content) from exc
    except ValidationError as exc:
        raise DocumentError(f"{engine.name}: its /{path} does not answer as vLLM's does: name a vLLM server") from exc
    except (httpx.ReadTimeout, httpx.WriteTimeout) as exc:
        busy = f"no answer from /{path} within {patience:g} s; it is busy, or the prompt is large: ask again"
        raise EngineUnreachable(engine.name, busy) from exc
    except httpx.HTTPError as exc:
        raise EngineUnreachable(engine.name, "no answer; it is down or still starting", hint=engine.if_down) from exc
