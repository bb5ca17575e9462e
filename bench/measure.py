"""Trials become samples, one request in flight."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from bench.plan import Trial, TrialStep
from bench.sample import Sample
from cache.wait_for_store import CountStored, chunks_to_store, count_stored_chunks, wait_until_stored
from client.ask import ask_whole
from client.prompt import Prompt, new_nonce
from client.reply import Reply
from client.tokenizer import count_tokens, fill_to_length, tokens_around_media
from config.errors import DocumentError, EngineError, StackError
from config.topology import Engine

AskMeasured = Callable[[Engine, Prompt], Awaitable[Reply]]
Sized = Callable[[Engine, Prompt, int], Awaitable[Prompt]]
PromptOf = Callable[[str], Prompt]  # of a nonce
BeforeRead = Callable[[], Awaitable[None]]
FAILURES = (EngineError, DocumentError, StackError)  # of one request: a row, and not the end of a run


async def do_nothing() -> None:
    """No preparation."""


async def ask_measured(engine: Engine, prompt: Prompt) -> Reply:
    """The whole answer; where the prompt has media, its tokens without them are counted before the clock starts."""
    if not prompt.media:
        return await ask_whole(engine, prompt)
    text, before = await tokens_around_media(engine, prompt)
    return replace(await ask_whole(engine, prompt), text_tokens=text, before_media=before)


async def ask_any_template(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """The prompt with `tokens`, or as long as it is for 0: media have the length that they have."""
    if tokens:
        return await fill_to_length(engine, prompt, tokens)
    prompt, _, _ = await count_tokens(engine, prompt)
    return prompt


async def ask_without_counters(engine: Engine, prompt: Prompt) -> Reply:
    """Asks without reading counters, where they could tell nothing, or are not what is measured."""

    async def unread(_: Engine) -> None:
        return None

    return await ask_whole(engine, prompt, counters=unread)


@dataclass(frozen=True, slots=True)
class MeasureContext:
    """How requests are sent and stores awaited; tests bring their own."""

    ask: AskMeasured = ask_measured
    under_load: AskMeasured = ask_without_counters  # and where the cost of asking is measured
    sized: Sized = ask_any_template
    stored: CountStored = count_stored_chunks
    prepare: BeforeRead = do_nothing  # runs before every read from the volume
    clock: Callable[[], float] = time.perf_counter
    nonce: Callable[[], str] = new_nonce


async def run_trials(
    trials: Iterable[Trial], ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
    """Yields the samples of each trial. Raises StackError as `answered` does."""
    for trial in trials:
        async for sample in until_unreachable(measure_document(trial, ask_with, bench, began)):
            yield sample


async def until_unreachable(samples: AsyncIterator[Sample]) -> AsyncIterator[Sample]:
    """The samples of one unit. StackError after the last if no engine answered: going on would only fail faster."""
    unanswered = True
    async for sample in samples:
        yield sample
        unanswered &= sample.unanswered
    if unanswered:
        raise StackError("no engine answers any more: see that they run, and go on with --resume")


async def measure_document(
    trial: Trial, ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
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


async def _measure(trial: Trial, step: TrialStep, prompt: Prompt, bench: MeasureContext, began: float) -> Sample:
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
            await wait_until_stored(cache, before, chunks_to_store(reply), stored=bench.stored)
            stored_s = bench.clock() - done
    except FAILURES as exc:
        return Sample.of(trial, step, prompt.nonce, started_s, str(exc), reply, error=type(exc).__name__)
    return Sample.of(trial, step, prompt.nonce, started_s, step.arm.fault(reply), reply, stored_s=stored_s)
