"""«Show me»: stories that play themselves, step by step, with a sentence at each. Knows nothing of Gradio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from client.metrics import fetch_metrics, sum_metrics
from client.reply import Reply
from config.errors import ArenaError, ConfigError, StackError
from config.topology import Engine, ServiceKind, Topology
from frontend.bars import seconds, title
from frontend.question_options import QuestionOptions
from frontend.race import AskStream, ask_engine
from frontend.restart import Restart
from frontend.tab_state import TabState
from media import Media

FIRST = "What's FFMPEG (answer in 10 words)"
SECOND = "New question: just give me a ffmpeg command line example without any explanation"
LOOK, LOOK_AGAIN = "What is this?", "New question: answer in one word, what is it?"
ALONE = QuestionOptions(follow=False, cut=True)
WITHOUT_DOCUMENT = replace(ALONE, document=False)
BACK_WITHIN_S = 900  # an engine takes minutes to start


@dataclass(frozen=True, slots=True)
class TourStep:
    """One engine, its question, and what is said while it answers."""

    engine: str
    question: str
    caption: str


def demo_steps(first: str = FIRST, second: str = SECOND, what: str = "the document") -> tuple[TourStep, ...]:
    """The four steps of LMCache's own demo; those of engines that are not there are left out by `play`."""
    return (
        TourStep("plain-a", first, f"vLLM (A) has never seen {what}, and computes all of it before its first word."),
        TourStep(
            "plain-b", second, f"vLLM (B) is asked about the same, and knows nothing of (A)'s work: {what} again."
        ),
        TourStep(
            "lmcache-a", first, f"Now with LMCache. (A) computes {what} once more, and stores its KV on the volume."
        ),
        TourStep(
            "lmcache-b", second, "LMCache (B) has computed nothing yet, and loads from the volume what (A) stored."
        ),
    )


async def play_steps(
    visit: TabState,
    topology: Topology,
    steps: Sequence[TourStep],
    media: Sequence[Media] = (),
    ask: AskStream = ask_engine,
) -> AsyncGenerator[TabState]:
    """Cold to begin with; ends with a sentence that compares (B) with and without LMCache. About media, or else the
    visitor's document."""
    choices = WITHOUT_DOCUMENT if media else ALONE
    visit = visit.cold()
    steps = [step for step in steps if any(engine.name == step.engine for engine in topology.engines)]
    if all(
        engine.kind is ServiceKind.LMCACHE for engine in topology.engines
    ):  # (B) is compared with (A), so asked the same
        steps = [replace(step, question=steps[0].question) for step in steps]
    for number, step in enumerate(steps, 1):
        visit = replace(visit, caption=f"{number} of {len(steps)}. {step.caption}")
        async with aclosing(
            visit.asking(((topology.engine(step.engine),),), step.question, choices, media, ask)
        ) as visits:
            async for visit in visits:
                yield visit
        _must_have_answered(visit, step.engine)
    yield replace(visit, caption=tour_verdict(visit))


def tour_verdict(visit: TabState) -> str:
    """What was seen, in one sentence of measured numbers; only times of the same prompt are divided."""
    panes = visit.race.panes
    shared = panes.get("lmcache-b")
    computed = panes.get("plain-b") or panes.get("lmcache-a")
    if not (shared and computed and shared.reply and computed.reply):
        return "Not every engine answered, so there is nothing to compare."
    said = f"Without what (A) stored the first word took {_measured(computed.reply)}; with it {_measured(shared.reply)}"
    if computed.prompt != shared.prompt:
        return f"{said}, to another question."
    ratio = computed.reply.ttft / shared.reply.ttft
    return f"{said}: {ratio:.1f} times sooner." if ratio >= 1 else f"{said}: {1 / ratio:.1f} times later."


def _measured(reply: Reply) -> str:
    return f"{seconds(reply.ttft)} on {reply.engine} ({reply.source})"


async def restart_steps(
    visit: TabState, topology: Topology, restart: Restart, ask: AskStream = ask_engine, poll_s: float = 1.0
) -> AsyncGenerator[TabState]:
    """Asks lmcache-a, restarts it with its cache server, and asks again: only the volume can still know."""
    engine = next((each for each in topology.engines if each.kind is ServiceKind.LMCACHE), None)
    if engine is None or engine.cache is None:
        raise ConfigError("no engine here has LMCache, so no volume remembers anything")
    if not restart.command:
        raise ConfigError("the page cannot restart engines here: RESTART_COMMAND, which ./arena up sets, is empty")
    name = title(engine)
    visit = replace(visit.cold(), caption=f"1 of 4. {name} reads the document for the first time, and stores its KV.")
    async with aclosing(visit.asking(((engine,),), FIRST, ALONE, (), ask)) as visits:
        async for visit in visits:
            yield visit
    _must_have_answered(visit, engine.name)
    first = visit.race.panes[engine.name].ttft or 0
    services = (engine.cache.name, engine.name)
    was = await started_at(engine)
    told = f"2 of 4. {engine.name} and {engine.cache.name} are restarted: what they had in memory is gone."
    yield replace(visit, caption=told)
    await restart.run(services)
    async for waited in _until_back(engine, was, poll_s):
        yield replace(visit, caption=f"3 of 4. Waiting until {engine.name} is back: {waited:.0f} s.")
    visit = replace(visit, caption=f"4 of 4. {name}, new in memory, is asked about the same document.")
    async with aclosing(visit.asking(((engine,),), SECOND, ALONE, (), ask)) as visits:
        async for visit in visits:
            yield visit
    _must_have_answered(visit, engine.name)
    pane = visit.race.panes[engine.name]
    source = pane.reply.source if pane.reply else ""
    yield replace(
        visit,
        caption=f"Before the restart {seconds(first)} to the first word, after it {seconds(pane.ttft or 0)}; "
        f"the prompt came from: {source}.",
    )


async def started_at(engine: Engine) -> float | None:
    """When the engine's process started, by its own clock; None while it does not answer or does not say."""
    try:
        return sum_metrics(await fetch_metrics(engine.url), "process_start_time_seconds").get(
            "process_start_time_seconds"
        )
    except Exception:  # noqa: BLE001  # an engine on its way down or up answers with anything
        return None


async def _until_back(engine: Engine, was: float | None, poll_s: float) -> AsyncGenerator[float]:
    """Yields the seconds waited, until the engine answers as another process."""
    began = asyncio.get_running_loop().time()
    while (now := await started_at(engine)) is None or now == was:
        waited = asyncio.get_running_loop().time() - began
        if waited > BACK_WITHIN_S:
            raise StackError(f"{engine.name} was not restarted within {BACK_WITHIN_S // 60} minutes: ./arena status")
        yield waited
        await asyncio.sleep(poll_s)


def _must_have_answered(visit: TabState, engine: str) -> None:
    pane = visit.race.panes[engine]
    if pane.reply is None:
        raise ArenaError(f"the tour ends here: {pane.fault or 'no answer'}")
