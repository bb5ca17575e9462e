"""Does the gain hold under load? Prompt lengths times loads, plain against shared, in one run.

Each cell either sends new documents to a plain engine, or sends the reader documents that the writer has stored. While
several requests are in flight, counters do not show where the tokens of one request came from, so they are not read. A
document that the reader had to recompute counts with its slow answer; `recomputed` is the number of such documents.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.arm_summary import summarize_arm
from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, Arm, EngineRole, nothing_cached
from bench.experiment import Experiment, handbook_prompt
from bench.load_generator import RequestLoad, SentRequest, send_all
from bench.measure import FAILURES, MeasureContext, PromptOf
from bench.options import Options
from bench.plan import EngineRoles, SampleKey, warmups
from bench.result import Result
from bench.sample import Sample
from bench.sample_warnings import warnings_of_arm
from bench.speedup import MOST_INVALID
from cache.wait_for_store import chunks_to_store, wait_until_stored
from client.prompt import Prompt
from config.topology import Engine


@dataclass(frozen=True, slots=True)
class LoadCell:
    """One prompt length under one load in one arm; its documents are numbered from `first`."""

    first: int
    input_len: int
    load: RequestLoad
    arm: Arm
    engine: Engine
    num_prompts: int
    seed: int
    writer: Engine | None = None  # stores the documents first, if there is one

    @property
    def documents(self) -> range:
        return range(self.first, self.first + self.num_prompts)

    @property
    def rows(self) -> tuple[SampleKey, ...]:
        return tuple((document, self.arm.name, self.input_len) for document in self.documents)

    @property
    def title(self) -> str:
        first = f"; {self.writer.name} stores them first" if self.writer else ""
        return f"{self.where}: {self.num_prompts} documents {self.arm.name} on {self.engine.name}{first}"

    @property
    def where(self) -> str:
        if self.load.closed:
            return f"{self.input_len:,} tokens, {self.load.max_concurrency} at once"
        return f"{self.input_len:,} tokens, {self.load.request_rate:g} requests a second"

    @property
    def name(self) -> str:
        """The name of the cell's file."""
        load = f"c{self.load.max_concurrency}" if self.load.closed else f"r{self.load.request_rate:g}"
        return f"{self.arm.name}-{self.input_len}-{load}"


def study(options: Options, roles: EngineRoles) -> Experiment:
    """The experiment: all cells; for each prompt length the closed loops, then the open ones."""
    planned = cells(options, roles)
    return Experiment(
        arms=(),  # an average over all loads would mean nothing: each cell has its own fields
        units=planned,
        warmups=warmups((COLD, FIRST_SIGHT, CROSS_READ), roles, options.input_lens, options.num_warmups),
        prompt=handbook_prompt(options),
        summary=partial(_summary, planned),
        measure=measure_cell,
        warnings=partial(_warnings, planned),
    )


def cells(options: Options, roles: EngineRoles) -> tuple[LoadCell, ...]:
    """All cells. The two arms of one length and load are adjacent, in random order."""
    shuffle = random.Random(options.seed)
    loads = [RequestLoad(max_concurrency=most) for most in options.max_concurrency]
    loads += [RequestLoad(rate, options.burstiness) for rate in options.request_rate]
    found = list[LoadCell]()
    for input_len in options.input_lens:
        for load in loads:
            for arm in shuffle.sample((COLD, CROSS_READ), 2):
                writer = roles[EngineRole.WRITER][0] if arm is CROSS_READ else None
                first, engine = len(found) * options.num_prompts, roles[arm.role][0]
                found.append(LoadCell(first, input_len, load, arm, engine, options.num_prompts, options.seed, writer))
    return tuple(found)


async def measure_cell(
    cell: LoadCell, ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
    """Yields each sample when its request ends. A document whose preparation fails is not sent; its sample is invalid.

    In an open loop, TTFT and E2EL count from the scheduled time of the request.
    """
    ready = list[tuple[int, Prompt]]()
    for document in cell.documents:
        prompt = ask_with(bench.nonce())
        try:
            ready.append((document, await _ready(cell, prompt, bench)))
        except FAILURES as exc:
            yield _sample(cell, document, prompt, started_s=bench.clock() - began, **_failed(exc))
    start = bench.clock()
    prompts = [prompt for _, prompt in ready]
    async for sent in send_all(cell.engine, prompts, cell.load, bench.under_load, seed=cell.seed, clock=bench.clock):
        yield _sample(cell, *ready[sent.index], **_measured(cell.arm, sent, start - began))


def meets_goodput(sample: Sample, goodput: Mapping[str, float]) -> bool:
    """Whether the sample meets every limit in `goodput` (milliseconds by metric)."""
    found = {"ttft": sample.ttft_ms, "tpot": sample.tpot_ms, "e2el": sample.e2el_ms}
    return all((value := found[name]) is not None and value <= most for name, most in goodput.items())


def holds(result: Result) -> bool:
    """Whether enough samples of every cell are valid, by the same limit as for an arm in a comparison."""
    return all((cell.failed or 0) <= MOST_INVALID * (cell.num_prompts or 0) for cell in result.cells)


def _summary(planned: Sequence[LoadCell], samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    return {
        "goodput": dict(options.goodput),
        "num_prompts": sum(cell.num_prompts for cell in planned),
        "max_concurrency": None,
        "cells": [_fields(cell, found, options) for cell, found in _by_cell(planned, samples)],
    }


def _fields(cell: LoadCell, samples: Sequence[Sample], options: Options) -> dict[str, Any]:
    """The cell as the fields of a `vllm bench serve` result."""
    load, valid = cell.load, [s for s in samples if s.valid]
    sent = [s for s in samples if s.ended_s is not None]
    duration = max((s.ended_s or 0 for s in sent), default=0.0) - min((s.started_s for s in sent), default=0.0)
    good = sum(meets_goodput(sample, options.goodput) for sample in valid)
    queues = [s.queue_ms for s in valid if s.queue_ms is not None]
    return {
        "name": cell.name,
        "input_len": cell.input_len,
        "arm": cell.arm.name,
        "request_rate": "inf" if math.isinf(load.request_rate) else load.request_rate,
        "burstiness": load.burstiness,
        "max_concurrency": load.max_concurrency,
        "num_prompts": len(samples),
        **summarize_arm(samples, detailed=options.save_detailed, seed=cell.seed, duration=duration),
        "request_goodput": good / duration if options.goodput and duration else None,
        "mean_client_queue_time_ms": sum(queues) / len(queues) if queues else None,
        "recomputed": _recomputed(cell, valid) if cell.arm is CROSS_READ else None,
    }


def _warnings(planned: Sequence[LoadCell], samples: Sequence[Sample]) -> list[str]:
    """Warns about spread only in cells with one request in flight, because load always spreads times."""
    found = [(f"{cell.where}, {cell.arm.name}", cell, here) for cell, here in _by_cell(planned, samples)]
    alone = [
        (name, [s for s in here if s.valid])
        for name, cell, here in found
        if cell.load.closed and cell.load.max_concurrency == 1
    ]
    again = [(name, _recomputed(cell, here), len(here)) for name, cell, here in found if cell.arm is CROSS_READ]
    said = "; ".join(f"{name} {recomputed} of {n}" for name, recomputed, n in again if recomputed)
    return [*warnings_of_arm(alone), *([f"documents had to be computed after all: {said}"] if said else [])]


def _by_cell(planned: Sequence[LoadCell], samples: Sequence[Sample]) -> list[tuple[LoadCell, list[Sample]]]:
    """The cells that have samples, with their samples."""
    found = [(cell, [s for s in samples if s.document in cell.documents]) for cell in planned]
    return [(cell, here) for cell, here in found if here]


def _recomputed(cell: LoadCell, samples: Sequence[Sample]) -> int:
    chunk, counted = cell.engine.chunk_size, [s for s in samples if s.valid and s.prompt_tokens]
    return sum((s.cached_tokens or 0) < ((s.prompt_tokens or 1) - 1) // chunk * chunk for s in counted)


async def _ready(cell: LoadCell, prompt: Prompt, bench: MeasureContext) -> Prompt:
    """The prompt at the cell's length; for a cross-read, the writer has stored it.

    Prompts are stored one at a time, because the chunks of each are counted.
    """
    prompt = await bench.fit_prompt(cell.engine, prompt, cell.input_len)
    if cell.writer and cell.writer.store:
        before = await bench.stored(cell.writer.store)
        reply = await bench.under_load(cell.writer, prompt)
        await wait_until_stored(cell.writer.store, before, chunks_to_store(reply), stored=bench.stored)
    return prompt


def _measured(arm: Arm, sent: SentRequest, start: float) -> dict[str, Any]:
    """The measured fields of a sample. A recomputed cross-read is valid: its slow answer is part of the comparison."""
    times = {"started_s": start + sent.intended, "ended_s": start + sent.ended, "queue_ms": sent.queue * 1e3}
    if sent.reply is None:
        return times | _failed(sent.failure)
    reply, late = sent.reply, sent.sent - sent.intended
    times |= {"ttft_ms": (reply.ttft + late) * 1e3, "e2el_ms": (reply.e2el + late) * 1e3}
    reason = nothing_cached(reply) if arm is COLD and reply.usage.cached_tokens else ""
    return {**reply.to_json(), **times, "reason": reason}


def _failed(exc: Exception | None) -> dict[str, Any]:
    return {"reason": str(exc), "error": type(exc).__name__}


def _sample(cell: LoadCell, document: int, prompt: Prompt, **measured: Any) -> Sample:
    return Sample.model_validate(
        {
            "document": document,
            "arm": cell.arm.name,
            "engine": cell.engine.name,
            "input_len": cell.input_len,
            "position": 0,
            "nonce": prompt.nonce,
            **measured,
        }
    )
