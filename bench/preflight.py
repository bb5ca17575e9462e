"""Checks before the measurement that the engines differ only in KV sharing, by what their servers report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic_core import from_json

from client.http_client import http_client, read_body
from client.metrics import fetch_metrics, parse_samples
from client.model_list import served_model
from config.errors import ConfigError, EngineError, EngineUnreachable, StackError
from config.topology import Engine, KVFolder

CACHE_CONFIG = "vllm:cache_config_info"
FROM_CACHE_CONFIG = (
    "enable_prefix_caching",
    "prefix_caching_hash_algo",
    "cache_dtype",
    "block_size",
    "kv_cache_size_tokens",
    "kv_cache_memory_bytes",
)
MUST_AGREE = (
    "version",
    "model",
    "max_model_len",
    "enable_prefix_caching",
    "cache_dtype",
    "block_size",
    "lmcache_version",
    "chunk_size",
)

EngineFacts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """The facts that each engine reports about itself, and how they compare."""

    engines: Mapping[str, EngineFacts]
    mismatches: tuple[str, ...] = ()  # differences that do not prevent a comparison
    unchecked: tuple[str, ...] = ()  # facts that could not be compared


async def read_engines(engines: Sequence[Engine]) -> None:
    """Raises StackError if none of the arena's engines answers."""
    for engine in engines:
        try:
            await served_model(engine)
        except EngineUnreachable:
            continue
        return
    first = engines[0]
    raise StackError(f"nothing runs: no engine answers ({first.name} at {first.url}): {first.if_down}")


async def preflight(engines: Sequence[Engine]) -> PreflightResult:
    """Reads and compares the engines' facts. Raises EngineUnreachable, and ConfigError as `compare_engines` does."""
    facts = {engine.name: await facts_of(engine) for engine in engines}
    return compare_engines(facts, engines[0].chunk_size)


async def describe_engines(engines: Sequence[Engine]) -> PreflightResult:
    """Like `preflight`, but accepts all differences, because external servers may differ."""
    facts = {engine.name: await facts_of(engine) for engine in engines}
    never = "revision, dtype and hash seed are not reported over HTTP, so they were not compared"
    return PreflightResult(facts, tuple(text for _, text in _differences(facts)), (*_unchecked(facts), never))


def compare_engines(facts: Mapping[str, EngineFacts], chunk_size: int) -> PreflightResult:
    """Compares the facts. Raises ConfigError if those in MUST_AGREE differ, or if an engine has no prefix cache.

    It also raises ConfigError if a cache server's chunks do not have `chunk_size` tokens (the setting CHUNK_SIZE),
    because samples are checked in whole chunks.
    """
    differing = _differences(facts)
    faults = [text for key, text in differing if key in MUST_AGREE]
    sizes = {name: str(of["chunk_size"]) for name, of in facts.items() if of.get("chunk_size")}
    if wrong := {name: size for name, size in sizes.items() if size != str(chunk_size)}:
        reported = ", ".join(f"{size} on {name}" for name, size in wrong.items())
        faults.append(
            f"chunk_size is {reported}, and CHUNK_SIZE={chunk_size} here: the stack was started with other settings; "
            "start it again, or set CHUNK_SIZE to what it has"
        )
    if faults:
        raise ConfigError(f"the engines cannot be compared: {'; '.join(faults)}")
    off = [name for name, of in facts.items() if of.get("enable_prefix_caching") == "False"]
    if off:
        raise ConfigError(f"prefix caching is off on {', '.join(off)}: start it with --enable-prefix-caching")
    return PreflightResult(facts, tuple(text for _, text in differing), _unchecked(facts))


def changed_engines(then: Mapping[str, EngineFacts], now: Mapping[str, EngineFacts]) -> list[str]:
    """Which facts in MUST_AGREE have changed. Sizes of KV caches are not compared: they may change with a restart."""
    reported = {
        (name, key): [facts.get(name, {}).get(key) for facts in (then, now)]
        for name in {**then, **now}
        for key in MUST_AGREE
    }
    return [f"{key} of {name} was {was}, and is {is_}" for (name, key), (was, is_) in reported.items() if was != is_]


async def facts_of(engine: Engine) -> EngineFacts:
    """What an engine and its cache server report about themselves; None for facts that they do not report.

    Every server must report its model, except external servers, for which --model can name it.
    """
    model = await _model(engine)
    facts = {"model": model.get("root") or model.get("id"), "max_model_len": model.get("max_model_len")}
    async with http_client(10, engine) as http:
        facts |= {"version": await _json(http, f"{engine.url}/version", "version")}
        if engine.cache:
            facts["lmcache_version"] = await _json(http, f"{engine.cache.url}/lmc_version")
            facts["chunk_size"] = await _json(http, f"{engine.cache.url}/status", "chunk_size")
    if isinstance(engine.store, KVFolder):
        facts["kv_connector"] = engine.store.connector
    return facts | await _cache_config(engine)


async def _model(engine: Engine) -> EngineFacts:
    try:
        return await served_model(engine, engine.model)
    except EngineError:
        if engine.ours:
            raise
    return {"id": engine.model}


async def _json(http: httpx.AsyncClient, url: str, *path: str) -> Any:
    """The string or number at `path` in the JSON at `url`; None for anything else (external servers may return it)."""
    try:
        value = from_json(await read_body(http, url))
        for key in path:
            value = value[key]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    return value if isinstance(value, str | int | float) else None


async def _cache_config(engine: Engine) -> dict[str, str | None]:
    """The labels of vLLM's gauge CACHE_CONFIG; None for labels that it does not have."""
    try:
        found = parse_samples(await fetch_metrics(engine.url, engine), CACHE_CONFIG)
    except httpx.HTTPError:
        found = []
    labels = next((sample.labels for sample in found if sample.name == CACHE_CONFIG), {})
    return {key: labels.get(key) for key in FROM_CACHE_CONFIG}


def _differences(facts: Mapping[str, EngineFacts]) -> Sequence[tuple[str, str]]:
    """A pair `(key, sentence)` for each fact whose values differ between the engines that report it."""
    keys = dict.fromkeys(key for of in facts.values() for key in of)
    found = []
    for key in keys:
        stated = {name: of[key] for name, of in facts.items() if of.get(key) is not None}
        if len(set(map(str, stated.values()))) > 1:
            found.append((key, f"{key} is " + ", ".join(f"{value} on {name}" for name, value in stated.items())))
    return found


def _unchecked(facts: Mapping[str, EngineFacts]) -> tuple[str, ...]:
    """Sentences on the facts in MUST_AGREE that engines do not report, one for each group of engines."""
    silent = dict[tuple[str, ...], list[str]]()
    for key in MUST_AGREE:
        if names := tuple(name for name, of in facts.items() if key in of and of[key] is None):
            silent.setdefault(names, []).append(key)
    return tuple(
        f"{', '.join(keys)} {'is' if len(keys) == 1 else 'are'} not reported by {', '.join(names)}, so "
        f"{'it was' if len(keys) == 1 else 'they were'} not compared"
        for names, keys in silent.items()
    )
