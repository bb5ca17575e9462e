"""Servers that are not the arena's: any two that speak the OpenAI API, named by `--base-url`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.run import Ask, Sized
from engines.client import reply_to
from engines.document import of_length
from engines.elsewhere import engine_at
from engines.errors import ConfigError, DocumentError, EngineRefused
from engines.prompt import Prompt
from engines.topology import Engine


async def engines_at(base_urls: Sequence[str], model: str | None) -> tuple[Engine, Engine]:
    """The two servers, with the model that each serves unless one is named. Raises ConfigError, EngineUnreachable."""
    if any("@" in url for url in base_urls):
        raise ConfigError(
            "--base-url has a name or a password in it, which a result would keep: leave it out, and set OPENAI_API_KEY"
        )
    if len(base_urls) != 2:
        raise ConfigError("--base-url wants two servers: the one that reads a document first, and the one compared")
    first, second = [await engine_at(url, side, model) for url, side in zip(base_urls, "ab", strict=True)]
    if first.url == second.url:
        raise ConfigError(f"--base-url names {first.url} twice: the second request would find the first one's cache")
    return first, second


def sizing(ask: Ask = reply_to, exact: Sized = of_length) -> Sized:
    """Cuts prompts by the server's tokenizer where it lends it, else by characters, measured once on a prompt."""
    characters: dict[str, Callable[[int], int]] = {}

    async def sized(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
        if engine.name not in characters:
            try:
                return await exact(engine, prompt, tokens)
            except (DocumentError, EngineRefused):
                characters[engine.name] = await _scale(engine, prompt, ask)
        wanted = max(1, characters[engine.name](tokens))
        copies = wanted // max(1, len(prompt.document)) + 1
        return prompt.about("\n\n".join([prompt.document] * copies)[:wanted])

    return sized


async def _scale(engine: Engine, prompt: Prompt, ask: Ask) -> Callable[[int], int]:
    """From tokens of a whole prompt to characters of its document, by the server's own count of two prompts."""
    short, long = (replace(prompt.about(prompt.document[:n]), max_tokens=1, nonce=f"{n}") for n in (400, 4000))
    few, many = [(await ask(engine, each)).usage.prompt_tokens for each in (short, long)]
    per_token = (len(long.document) - len(short.document)) / max(1, many - few)
    return lambda tokens: int(len(short.document) + (tokens - few) * per_token)
