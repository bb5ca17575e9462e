"""How the gain holds under load: prompt lengths times loads, plain against shared, in one run.

Each cell sends fresh documents to a plain engine, or others, which the writer has stored, to the reader. Sources
cannot be told while several requests are in flight, so no counters are read; a document that the reader had to compute
after all counts as the slow answer that it is, and `recomputed` says how many were.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import folder
from bench.arms import COLD, CROSS_READ, Arm, Role
from bench.fields import arm_fields
from bench.load import Load, Sent, send
from bench.plan import Cast, cast_of
from bench.preflight import Preflight, preflight
from bench.record import Origin, frame, row
from bench.run import Bench, uncounted
from bench.sample import Sample
from bench.study import Options
from bench.ttft import prompts
from cache.counters import chunks_to_store, wait_stored
from cache.volume import CHUNK_SIZE
from engines.errors import ConfigError
from engines.prompt import Prompt
from engines.topology import Engine, Topology

GOODPUT_METRICS = ("ttft", "tpot", "e2el")


@dataclass(frozen=True, slots=True)
class Cell:
    """One prompt length under one load in one arm."""

    input_len: int
    load: Load
    arm: Arm
    num_prompts: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell with its samples; in an open loop TTFT and E2EL count from when a request was meant to be sent."""

    cell: Cell
    samples: tuple[Sample, ...]
    duration: float

    def to_json(self, goodput: Mapping[str, float], *, detailed: bool) -> dict[str, Any]:
        """As one result of `vllm bench serve`; `goodput` gives the most milliseconds for each metric."""
        load, valid = self.cell.load, [s for s in self.samples if s.valid]
        recomputed = sum((s.cached_tokens or 0) < _whole_chunks(s.prompt_tokens or 1) for s in valid)
        good = sum(meets(sample, goodput) for sample in valid)
        queues = [s.queue_ms for s in valid if s.queue_ms is not None]
        return {
            "input_len": self.cell.input_len,
            "arm": self.cell.arm.name,
            "request_rate": "inf" if math.isinf(load.request_rate) else load.request_rate,
            "burstiness": load.burstiness,
            "max_concurrency": load.max_concurrency,
            "num_prompts": len(self.samples),
            **arm_fields(self.samples, detailed=detailed, seed=self.cell.seed, duration=self.duration),
            "request_goodput": good / self.duration if goodput and self.duration else None,
            "mean_client_queue_time_ms": sum(queues) / len(queues) if queues else None,
            "recomputed": recomputed if self.cell.arm is CROSS_READ else None,
        }


def cells(options: Options) -> tuple[Cell, ...]:
    """Both arms of a length and load follow each other, in random order."""
    shuffle = random.Random(options.seed)
    loads = [Load(max_concurrency=most) for most in options.max_concurrency]
    loads += [Load(rate, options.burstiness) for rate in options.request_rate]
    found = list[Cell]()
    for input_len in options.input_lens:
        for load in loads:
            arms = shuffle.sample((COLD, CROSS_READ), 2)
            found += [Cell(input_len, load, arm, options.num_prompts, options.seed) for arm in arms]
    return tuple(found)


def promises(goodput: Sequence[str]) -> dict[str, float]:
    """`["ttft:500"]` as milliseconds by metric. Raises ConfigError for anything else."""
    found = {}
    for text in goodput:
        metric, _, ms = text.partition(":")
        try:
            found[metric] = float(ms)
        except ValueError:
            metric = ""
        if metric not in GOODPUT_METRICS:
            raise ConfigError(f"--goodput {text}: write ttft:500, tpot:50 or e2el:2000 (milliseconds)")
    return found


def resume(path: Path) -> tuple[Options, Mapping[str, Any]]:
    """The options of an interrupted run, and what it left. Raises ConfigError when there is nothing to go on with."""
    left = folder.read(path)
    if left["kind"] != "sweep" or left.get("complete"):
        raise ConfigError(f"{path} holds no interrupted run of bench sweep")
    return Options.model_validate(left["options"]), left


async def conduct(
    options: Options,
    topology: Topology,
    path: Path,
    say: Callable[[str], object],
    *,
    command: str,
    left: Mapping[str, Any] | None = None,
    bench: Bench | None = None,
    check: Callable[[Sequence[Engine]], Awaitable[Preflight]] = preflight,
) -> dict[str, Any]:
    """Measures every cell that `left` does not have, writes the result after each, and returns it whole."""
    found = await check(topology.engines)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    past = left or {"run_id": secrets.token_hex(8), "date": now, "command": command, "duration": 0.0}
    done = list(past.get("cells", ()))
    samples = [Sample.model_validate(each) for each in past.get("samples", ())]
    todo, began = cells(options), time.perf_counter()

    def written(*, complete: bool) -> dict[str, Any]:
        duration = past["duration"] + time.perf_counter() - began
        origin = Origin(past["run_id"], past["date"], past["command"], duration, found)
        result = {
            **frame(options, origin, samples, complete=complete),
            "goodput": dict(options.goodput),
            "num_prompts": sum(cell.num_prompts for cell in todo),
            "max_concurrency": None,
            "cells": done,
            "warnings": list(found.mismatches),
            "samples": [row(sample) for sample in samples],
        }
        folder.write(path / folder.RESULT, result)
        return result

    bench = bench or Bench(ask=uncounted)
    async for outcome in run(todo[len(done) :], cast_of(topology), prompts(options), bench, say):
        done.append(outcome.to_json(options.goodput, detailed=options.save_detailed))
        samples += outcome.samples
        written(complete=False)
    return written(complete=True)


async def run(
    todo: Sequence[Cell], cast: Cast, ask_with: Callable[[str], Prompt], bench: Bench, say: Callable[[str], object]
) -> AsyncIterator[Outcome]:
    """Yields each cell when it is done."""
    for number, cell in enumerate(todo, 1):
        engine = cast[cell.arm.role][0]
        where = f"{number}/{len(todo)} {cell.input_len:,} tokens, {_load(cell.load)}, {cell.arm.name} on {engine.name}"
        prompts = [await bench.sized(engine, ask_with(bench.nonce()), cell.input_len) for _ in range(cell.num_prompts)]
        if cell.arm is CROSS_READ:
            say(f"{where}: storing {len(prompts)} documents first")
            await _store(prompts, cast, bench)
        began = time.perf_counter()
        samples = list[Sample]()
        async for sent in send(engine, prompts, cell.load, bench.ask, seed=cell.seed):
            samples.append(_sample(cell, engine.name, prompts[sent.index], sent))
            say(f"{where}: {len(samples)} of {len(prompts)}")
        yield Outcome(cell, tuple(samples), time.perf_counter() - began)


def meets(sample: Sample, goodput: Mapping[str, float]) -> bool:
    """Whether it keeps every promise."""
    found = {"ttft": sample.ttft_ms, "tpot": sample.tpot_ms, "e2el": sample.e2el_ms}
    return all((value := found[name]) is not None and value <= most for name, most in goodput.items())


async def _store(prompts: Sequence[Prompt], cast: Cast, bench: Bench) -> None:
    """One after the other: the store is awaited by the count of this document's chunks."""
    writer = cast[Role.WRITER][0]
    assert writer.cache
    for prompt in prompts:
        before = await bench.stored(writer.cache)
        reply = await bench.ask(writer, prompt)
        await wait_stored(writer.cache, before, chunks_to_store(reply), stored=bench.stored)


def _sample(cell: Cell, engine: str, prompt: Prompt, sent: Sent) -> Sample:
    row: dict[str, Any] = sent.reply.to_json() if sent.reply else {}
    for metric in ("ttft_ms", "e2el_ms"):
        if metric in row:
            row[metric] += (sent.sent - sent.intended) * 1e3
    return Sample.model_validate(
        {
            **row,
            "document": sent.index,
            "arm": cell.arm.name,
            "engine": engine,
            "input_len": cell.input_len,
            "position": 0,
            "nonce": prompt.nonce,
            "started_s": sent.intended,
            "queue_ms": sent.queue * 1e3,
            "reason": sent.reason or _fault(cell.arm, row),
        }
    )


def _fault(arm: Arm, row: Mapping[str, Any]) -> str:
    """A cross-read that had to compute again counts: under load that is what sharing gives."""
    cached = row["cached_tokens"]
    return f"{cached} tokens were cached, and nothing should be" if arm is COLD and cached else ""


def _whole_chunks(prompt_tokens: int) -> int:
    return (prompt_tokens - 1) // CHUNK_SIZE * CHUNK_SIZE


def _load(load: Load) -> str:
    if math.isinf(load.request_rate):
        return f"{load.max_concurrency} at once"
    return f"{load.request_rate:g} requests a second"
