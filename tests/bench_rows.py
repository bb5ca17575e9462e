"""Samples, and engines that answer without a network, for tests of the benchmark's evaluation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fakes import a_reply

from bench.experiment import Experiment
from bench.measure import AskMeasured, MeasureContext
from bench.options import Options
from bench.plan import assign_roles
from bench.preflight import PreflightResult
from bench.questions import ttft
from bench.runner import PreviousRun, run_experiment
from bench.sample import Sample
from client.prompt import Prompt
from client.reply import Reply, Sources
from config.topology import Engine, Topology

OPTIONS = Options(kind="ttft", input_lens=(7000,) * 6, num_warmups=0)
FACTS = {"plain-a": {"model": "small", "version": "0.32.0"}, "lmcache-a": {"model": "small"}}


def sample(document: int, arm: str, ttft_ms: float | None = 1000.0, **more: Any) -> Sample:
    """Returns a sample, which is valid unless a `reason` is given."""
    measured = {} if ttft_ms is None else {"e2el_ms": ttft_ms + 30 * 31, "tpot_ms": 30.0, "itls": (0.03,) * 31}
    usage = {"prompt_tokens": 7000, "completion_tokens": 32, "cached_tokens": 0}
    base = {"engine": "plain-a", "input_len": 7000, "position": 0, "nonce": "00ff", "started_s": 0.0}
    row = {"document": document, "arm": arm, "ttft_ms": ttft_ms, **base, **usage, **measured, **more}
    return Sample.model_validate(row)


def pairs(*ratios: float, of: str = "cross_read", over: str = "cold", slow_ms: float = 8000.0) -> list[Sample]:
    """Returns a pair of samples per ratio, in which `of` is faster than `over` by that ratio."""
    return [
        each
        for document, ratio in enumerate(ratios)
        for each in (sample(document, over, slow_ms), sample(document, of, slow_ms / ratio))
    ]


async def as_it_is(_engine: Any, prompt: Any, _tokens: int) -> Any:
    """Leaves a prompt's length unchanged."""
    return prompt


def a_bench(ask: AskMeasured, **more: Any) -> MeasureContext:
    """Returns a context in which every store completes at once."""
    counts = itertools.count(step=1000)

    async def stored(_cache: Any) -> int:
        return next(counts)

    return MeasureContext(ask=ask, **{"under_load": ask, "fit_prompt": as_it_is, "stored": stored, **more})


COLD, SHARED, OWN = Sources(7000, 0, 0), Sources(88, 0, 6912, l2=6912), Sources(88, 6912, 0)


class Engines:
    """Four engines that cache the prompts they were sent; the LMCache pair shares its cache.

    After `fails_after` requests, raises KeyboardInterrupt or `failure`.
    """

    def __init__(self, fails_after: int = 1000, failure: BaseException | None = None) -> None:
        self.failure = failure or KeyboardInterrupt()
        self.seen: set[tuple[str, str]] = set()
        self.nonces: list[str] = []
        self.left = fails_after

    async def ask(self, engine: Engine, prompt: Prompt) -> Reply:
        self.left -= 1
        if self.left < 0:
            raise self.failure
        self.nonces.append(prompt.nonce)
        own, pair = (engine.name, prompt.nonce), (engine.kind, prompt.nonce)
        warm, shared = own in self.seen, engine.cache and pair in self.seen
        self.seen |= {own, pair}
        if warm:
            return a_reply(engine, ttft=0.3, cached=6912, sources=OWN)
        if shared:
            return a_reply(engine, ttft=0.9, cached=6912, sources=SHARED)
        return a_reply(engine, ttft=9.0, sources=COLD)


async def same(_engines: Any) -> PreflightResult:
    return PreflightResult(FACTS, ())


def run(
    experiment: Experiment,
    options: Options,
    engines: Sequence[Engine],
    folder: Path,
    bench: MeasureContext,
    lines: list[str] | None = None,
    check: Callable[[Sequence[Engine]], Awaitable[PreflightResult]] = same,
    past: PreviousRun | None = None,
    stack: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Runs an experiment and returns its result as JSON."""
    say, past = ([] if lines is None else lines).append, past or PreviousRun.none("./arena bench")
    running = run_experiment(
        experiment, options, engines, folder, say, past=past, bench=bench, stack=stack, check=check
    )
    return asyncio.run(running).model_dump(mode="json")


def measure(
    topology: Topology, folder: Path, engines: Engines, options: Options = OPTIONS, **more: Any
) -> dict[str, Any]:
    """Runs a whole `bench ttft` without waiting, and returns its result as JSON."""
    experiment = ttft.study(options, assign_roles(topology))
    return run(experiment, options, topology.engines, folder, a_bench(engines.ask), **more)
