"""Trials become samples, one request in flight."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from bench.plan import Step, Trial
from bench.sample import Sample
from cache.counters import Stored, chunks_to_store, stored_chunks, wait_stored
from engines.client import reply_to
from engines.document import accepted, around_media, of_length
from engines.errors import DocumentError, EngineError, StackError
from engines.prompt import Prompt, new_nonce
from engines.reply import Reply
from engines.topology import Engine

Ask = Callable[[Engine, Prompt], Awaitable[Reply]]
Sized = Callable[[Engine, Prompt, int], Awaitable[Prompt]]
PromptOf = Callable[[str], Prompt]  # of a nonce
Prepare = Callable[[], Awaitable[None]]
FAILURES = (EngineError, DocumentError, StackError)  # of one request: a row, and not the end of a run


async def nothing() -> None:
    """No preparation."""


async def measured(engine: Engine, prompt: Prompt) -> Reply:
    """The whole answer; where the prompt has media, its tokens without them are counted before the clock starts."""
    if not prompt.media:
        return await reply_to(engine, prompt)
    text, before = await around_media(engine, prompt)
    return replace(await reply_to(engine, prompt), text_tokens=text, before_media=before)


async def in_form(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """The prompt with `tokens`, or as long as it is for 0: media have the length that they have."""
    if tokens:
        return await of_length(engine, prompt, tokens)
    prompt, _, _ = await accepted(engine, prompt)
    return prompt


async def uncounted(engine: Engine, prompt: Prompt) -> Reply:
    """Asks without reading counters, where they could tell nothing, or are not what is measured."""

    async def unread(_: Engine) -> None:
        return None

    return await reply_to(engine, prompt, counters=unread)


@dataclass(frozen=True, slots=True)
class Bench:
    """How requests are sent and stores awaited; tests bring their own."""

    ask: Ask = measured
    under_load: Ask = uncounted  # and where the cost of asking is measured
    sized: Sized = in_form
    stored: Stored = stored_chunks
    prepare: Prepare = nothing  # runs before every read from the volume
    clock: Callable[[], float] = time.perf_counter
    nonce: Callable[[], str] = new_nonce


async def run(trials: Iterable[Trial], ask_with: PromptOf, bench: Bench, began: float) -> AsyncIterator[Sample]:
    """Yields the samples of each trial. Raises StackError as `answered` does."""
    for trial in trials:
        async for sample in answered(one_document(trial, ask_with, bench, began)):
            yield sample


async def answered(samples: AsyncIterator[Sample]) -> AsyncIterator[Sample]:
    """The samples of one unit. StackError after the last if no engine answered: going on would only fail faster."""
    unanswered = True
    async for sample in samples:
        yield sample
        unanswered &= sample.unanswered
    if unanswered:
        raise StackError("no engine answers any more: see that they run, and go on with --resume")


async def one_document(trial: Trial, ask_with: PromptOf, bench: Bench, began: float) -> AsyncIterator[Sample]:
    """Yields each sample as it is measured; what fails is a sample with its reason, and the next arm follows.

    The trial has a nonce of its own, and its prompt the trial's length; an arm may vary it.
    """
    nonce = bench.nonce()
    try:
        prompt = await bench.sized(trial.steps[0].engine, ask_with(nonce), trial.input_len)
    except FAILURES as exc:
        for step in trial.steps:
            yield Sample.of(trial, step, nonce, bench.clock() - began, str(exc), error=type(exc).__name__)
        return
    for step in trial.steps:
        yield await _measure(trial, step, prompt, bench, began)


async def _measure(trial: Trial, step: Step, prompt: Prompt, bench: Bench, began: float) -> Sample:
    prompt = step.arm.variant(prompt)
    cache = step.engine.cache if step.arm.stores else None
    reply: Reply | None = None
    stored_s: float | None = None
    started_s = bench.clock() - began
    try:
        if step.arm.reads:
            await bench.prepare()
            started_s = bench.clock() - began
        before = await bench.stored(cache) if cache else 0
        reply = await bench.ask(step.engine, prompt)
        if cache:
            done = bench.clock()
            await wait_stored(cache, before, chunks_to_store(reply), stored=bench.stored)
            stored_s = bench.clock() - done
    except FAILURES as exc:
        return Sample.of(trial, step, prompt.nonce, started_s, str(exc), reply, error=type(exc).__name__)
    return Sample.of(trial, step, prompt.nonce, started_s, step.arm.fault(reply), reply, stored_s=stored_s)
