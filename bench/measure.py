"""Runs trials and turns them into samples, with one request in flight."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from bench.plan import Trial, TrialStep
from bench.sample import Sample
from cache.wait_for_store import CountStored, chunks_to_store, count_stored, wait_until_stored
from client.ask import ask_whole
from client.prompt import Prompt, new_nonce
from client.reply import Reply
from client.tokenizer import count_tokens, fill_to_length, tokens_around_media
from config.errors import DocumentError, EngineError, StackError
from config.topology import Engine

AskMeasured = Callable[[Engine, Prompt], Awaitable[Reply]]
FitPrompt = Callable[[Engine, Prompt, int], Awaitable[Prompt]]
PromptOf = Callable[[str], Prompt]  # makes the prompt for a nonce
BeforeRead = Callable[[], Awaitable[None]]
FAILURES = (EngineError, DocumentError, StackError)  # these become a sample with a reason and do not end the run


async def do_nothing() -> None:
    pass


async def ask_measured(engine: Engine, prompt: Prompt) -> Reply:
    """Returns the whole answer. If the prompt has media, the tokens of its text are counted before the clock starts."""
    if not prompt.media:
        return await ask_whole(engine, prompt)
    text, before = await tokens_around_media(engine, prompt)
    return replace(await ask_whole(engine, prompt), text_tokens=text, before_media=before)


async def ask_without_counters(engine: Engine, prompt: Prompt) -> Reply:
    """Returns the whole answer without reading counters: useless under load, and too slow for `bench peer`."""

    async def unread(_: Engine) -> None:
        return None

    return await ask_whole(engine, prompt, counters=unread)


async def fit_to_template(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """The prompt at a length of `tokens`, in a form that the model's chat template accepts; 0 keeps its length."""
    if tokens:
        return await fill_to_length(engine, prompt, tokens)
    prompt, _, _ = await count_tokens(engine, prompt)
    return prompt


@dataclass(frozen=True, slots=True)
class MeasureContext:
    """The functions that send requests and wait for stores; tests replace them."""

    ask: AskMeasured = ask_measured
    under_load: AskMeasured = ask_without_counters
    fit_prompt: FitPrompt = fit_to_template
    stored: CountStored = count_stored
    prepare: BeforeRead = do_nothing  # runs before every read from the volume
    clock: Callable[[], float] = time.perf_counter
    nonce: Callable[[], str] = new_nonce


async def run_trials(
    trials: Iterable[Trial], ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
    """Yields the samples of each trial. Raises StackError as `until_unreachable` does."""
    for trial in trials:
        async for sample in until_unreachable(measure_document(trial, ask_with, bench, began)):
            yield sample


async def until_unreachable(samples: AsyncIterator[Sample]) -> AsyncIterator[Sample]:
    """Yields the samples of one unit. Raises StackError after the last one if no engine answered any request."""
    unanswered = True
    async for sample in samples:
        yield sample
        unanswered &= sample.unanswered
    if unanswered:
        raise StackError("no engine answers any more: see that they run, and go on with --resume")


async def measure_document(
    trial: Trial, ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
    """Yields each sample as it is measured. A failure becomes a sample with its reason, and the next arm follows.

    The prompt has a new nonce and the trial's length; an arm may transform it.
    """
    nonce = bench.nonce()
    try:
        prompt = await bench.fit_prompt(trial.steps[0].engine, ask_with(nonce), trial.input_len)
    except FAILURES as exc:
        for step in trial.steps:
            yield Sample.of(trial, step, nonce, bench.clock() - began, str(exc), error=type(exc).__name__)
        return
    for step in trial.steps:
        yield await _measure(trial, step, prompt, bench, began)


async def _measure(trial: Trial, step: TrialStep, prompt: Prompt, bench: MeasureContext, began: float) -> Sample:
    prompt = step.arm.transform(prompt)
    store = step.engine.store if step.arm.stores else None
    reply: Reply | None = None
    stored_s: float | None = None
    started_s = bench.clock() - began
    try:
        if step.arm.reads:
            await bench.prepare()
            started_s = bench.clock() - began
        before = await bench.stored(store) if store else 0
        reply = await bench.ask(step.engine, prompt)
        if store:
            done = bench.clock()
            await wait_until_stored(store, before, chunks_to_store(reply), stored=bench.stored)
            stored_s = bench.clock() - done
    except FAILURES as exc:
        return Sample.of(trial, step, prompt.nonce, started_s, str(exc), reply, error=type(exc).__name__)
    reason = step.arm.invalid_reason(reply)
    return Sample.of(trial, step, prompt.nonce, started_s, reason, reply, stored_s=stored_s)
