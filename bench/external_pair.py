"""Two external servers with an OpenAI-compatible API, named by `--base-url`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.measure import AskMeasured, FitPrompt, PromptOf, ask_without_counters
from client.ask import ask_whole_any_template
from client.external_server import external_engine
from client.prompt import Prompt, new_nonce
from client.tokenizer import fill_to_length
from config.errors import ConfigError, DocumentError, EngineRefused
from config.topology import Engine

FEW, MANY = 400, 4000  # characters of the two documents with which a server's token count is measured
PROBE_TOKENS = 16  # of the answers to those documents, which are not measured
MAX_CHARACTERS_PER_TOKEN = 20  # average over a text, for any tokenizer; above it, the server's count is implausible


async def external_engines(
    base_urls: Sequence[str], model: str | None, extra_body: Mapping[str, Any] | None = None
) -> tuple[Engine, Engine]:
    """The two servers; without `model`, each uses the model that it serves. Raises ConfigError, EngineError."""
    if any("@" in url for url in base_urls):
        raise ConfigError(
            "--base-url has a name or a password in it, which a result would keep: leave it out, and set OPENAI_API_KEY"
        )
    if len(base_urls) != 2:
        raise ConfigError("--base-url takes two servers: the one that reads a document first, and the one compared")
    sides = zip(base_urls, "ab", strict=True)
    first, second = [await external_engine(url, side, model, extra_body) for url, side in sides]
    if first.url == second.url:
        raise ConfigError(f"--base-url names {first.url} twice: the second request would find the first one's cache")
    return first, second


@dataclass(frozen=True, slots=True)
class CharactersPerToken:
    """How a server counts tokens, and whether its chat template refuses a system message."""

    few: int  # tokens of the whole prompt if its document has FEW characters
    characters_per_token: float  # in a longer document, beyond FEW characters
    no_system_role: bool = False

    def characters(self, tokens: int) -> int:
        """The number of characters that the document may have in a prompt of `tokens` tokens."""
        return max(1, int(FEW + (tokens - self.few) * self.characters_per_token))


async def measure_scales(
    engines: Iterable[Engine], ask_with: PromptOf, ask: AskMeasured = ask_without_counters
) -> dict[str, CharactersPerToken]:
    """Each engine's scale by its name. Raises EngineError, and ConfigError as `scale_of` does."""
    return {engine.name: await scale_of(engine, ask_with, ask) for engine in engines}


async def scale_of(engine: Engine, ask_with: PromptOf, ask: AskMeasured = ask_without_counters) -> CharactersPerToken:
    """Measures the scale with two prompts. Raises ConfigError if the count does not grow with the prompt."""
    prompt = ask_with(new_nonce())
    prompt = replace(prompt, max_tokens=min(prompt.max_tokens, PROBE_TOKENS))
    short, long = (replace(prompt.about(_cut(prompt, length)), nonce=new_nonce()) for length in (FEW, MANY))
    short, of_short = await ask_whole_any_template(engine, short, ask)
    of_long = await ask(engine, replace(long, no_system_role=short.no_system_role))
    few, many = of_short.usage.prompt_tokens, of_long.usage.prompt_tokens
    if few < 1 or (many - few) * MAX_CHARACTERS_PER_TOKEN < MANY - FEW:
        raise ConfigError(
            f"{engine.name} does not count tokens: its usage reports {few:,} prompt tokens for a document of {FEW:,} "
            f"characters, and {many:,} for one of {MANY:,}; without a count prompts cannot have a known length"
        )
    return CharactersPerToken(few, (MANY - FEW) / (many - few), short.no_system_role)


def sizing(scales: Mapping[str, CharactersPerToken], exact: FitPrompt = fill_to_length) -> FitPrompt:
    """A function that cuts prompts to length, with the server's tokenizer endpoint or, if it has none, by characters.

    If one server's chat template refuses a system message, neither server gets one.
    """
    without_tokenizer = set[str]()
    no_system_role = any(scale.no_system_role for scale in scales.values())

    async def sized(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
        prompt = replace(prompt, no_system_role=no_system_role)
        if engine.name not in without_tokenizer:
            try:
                return await exact(engine, prompt, tokens)
            except (DocumentError, EngineRefused):
                without_tokenizer.add(engine.name)
        return prompt.about(_cut(prompt, scales[engine.name].characters(tokens)))

    return sized


def _cut(prompt: Prompt, characters: int) -> str:
    """The first `characters` characters of the prompt's document, which is repeated if it is too short."""
    copies = characters // max(1, len(prompt.document)) + 1
    return "\n\n".join([prompt.document] * copies)[:characters]
