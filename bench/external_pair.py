"""Servers that are not the arena's: any two that speak the OpenAI API, named by `--base-url`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.measure import AskMeasured, PromptOf, Sized, ask_without_counters
from client.ask import ask_whole_any_template
from client.external_server import external_engine
from client.prompt import Prompt, new_nonce
from client.tokenizer import fill_to_length
from config.errors import ConfigError, DocumentError, EngineRefused
from config.topology import Engine

FEW, MANY = 400, 4000  # characters of the documents that a server's count is tried on
PROBE_TOKENS = 16  # of an answer that is not measured
MOST_CHARACTERS = 20  # a token of any tokenizer, on the average of a text; a server that counts fewer does not count


async def external_engines(
    base_urls: Sequence[str], model: str | None, extra_body: Mapping[str, Any] | None = None
) -> tuple[Engine, Engine]:
    """The two servers, with the model that each serves unless one is named. Raises ConfigError, EngineError."""
    if any("@" in url for url in base_urls):
        raise ConfigError(
            "--base-url has a name or a password in it, which a result would keep: leave it out, and set OPENAI_API_KEY"
        )
    if len(base_urls) != 2:
        raise ConfigError("--base-url wants two servers: the one that reads a document first, and the one compared")
    sides = zip(base_urls, "ab", strict=True)
    first, second = [await external_engine(url, side, model, extra_body) for url, side in sides]
    if first.url == second.url:
        raise ConfigError(f"--base-url names {first.url} twice: the second request would find the first one's cache")
    return first, second


@dataclass(frozen=True, slots=True)
class CharactersPerToken:
    """How a server counts: tokens of a whole prompt whose document has FEW characters, and characters for each more."""

    few: int
    characters_a_token: float
    no_system_role: bool = False  # its chat template takes no system message

    def characters(self, tokens: int) -> int:
        """Of a document, for a prompt of so many tokens."""
        return max(1, int(FEW + (tokens - self.few) * self.characters_a_token))


async def measure_scales(
    engines: Iterable[Engine], ask_with: PromptOf, ask: AskMeasured = ask_without_counters
) -> dict[str, CharactersPerToken]:
    """By engine's name, from two prompts that are not measured. Raises EngineError; ConfigError as `scale_of` does."""
    return {engine.name: await scale_of(engine, ask_with, ask) for engine in engines}


async def scale_of(engine: Engine, ask_with: PromptOf, ask: AskMeasured = ask_without_counters) -> CharactersPerToken:
    """Raises ConfigError for a server whose count of prompt tokens does not grow as its prompts do."""
    prompt = ask_with(new_nonce())
    prompt = replace(prompt, max_tokens=min(prompt.max_tokens, PROBE_TOKENS))
    short, long = (replace(prompt.about(_cut(prompt, length)), nonce=new_nonce()) for length in (FEW, MANY))
    short, of_short = await ask_whole_any_template(engine, short, ask)
    of_long = await ask(engine, replace(long, no_system_role=short.no_system_role))
    few, many = of_short.usage.prompt_tokens, of_long.usage.prompt_tokens
    if few < 1 or (many - few) * MOST_CHARACTERS < MANY - FEW:
        raise ConfigError(
            f"{engine.name} does not count: its usage says {few:,} prompt tokens for a document of {FEW:,} characters, "
            f"and {many:,} for one of {MANY:,}; prompts of a known length take a server that counts tokens"
        )
    return CharactersPerToken(few, (MANY - FEW) / (many - few), short.no_system_role)


def sizing(scales: Mapping[str, CharactersPerToken], exact: Sized = fill_to_length) -> Sized:
    """Cuts prompts by the server's tokenizer where it lends it, else by characters; in a form that all servers take."""
    lends_none = set[str]()
    no_system_role = any(scale.no_system_role for scale in scales.values())

    async def sized(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
        prompt = replace(prompt, no_system_role=no_system_role)
        if engine.name not in lends_none:
            try:
                return await exact(engine, prompt, tokens)
            except (DocumentError, EngineRefused):
                lends_none.add(engine.name)
        return prompt.about(_cut(prompt, scales[engine.name].characters(tokens)))

    return sized


def _cut(prompt: Prompt, characters: int) -> str:
    """The prompt's document, repeated where it is shorter."""
    copies = characters // max(1, len(prompt.document)) + 1
    return "\n\n".join([prompt.document] * copies)[:characters]
