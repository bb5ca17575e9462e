"""«Show me»: tours that ask step by step, with a caption for each step. Does not depend on Gradio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from client.metrics import fetch_metrics, sum_metrics
from client.reply import Reply
from config.errors import ArenaError, ConfigError, StackError
from config.topology import Engine, ServiceKind, Topology
from frontend.bars import seconds, title
from frontend.question_options import QuestionOptions
from frontend.restart import Restart
from frontend.sessions import TabSession
from frontend.tab_state import TabState
from media import Media

FIRST = "What's FFMPEG (answer in 10 words)"
SECOND = "New question: just give me a ffmpeg command line example without any explanation"
LOOK, LOOK_AGAIN = "What is this?", "New question: answer in one word, what is it?"
ALONE = QuestionOptions(follow=False, cut=True)
WITHOUT_DOCUMENT = replace(ALONE, document=False)
RESTART_TIMEOUT_S = 900  # an engine takes minutes to start


@dataclass(frozen=True, slots=True)
class TourStep:
    """An engine, its question, and the caption shown while it answers."""

    engine: str
    question: str
    caption: str


def demo_steps(first: str = FIRST, second: str = SECOND, what: str = "the document") -> tuple[TourStep, ...]:
    """Returns the four steps of LMCache's own demo."""
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
    tab: TabSession, topology: Topology, steps: Sequence[TourStep], media: Sequence[Media] = ()
) -> None:
    """Plays the steps with a new nonce, and ends with a sentence that compares (B) with and without LMCache.

    The questions are about the media, or about the visitor's document if there are none. Steps for engines that do not
    exist here are skipped. Raises ArenaError if an engine does not answer.
    """
    options = WITHOUT_DOCUMENT if media else ALONE
    steps = [step for step in steps if any(engine.name == step.engine for engine in topology.engines)]
    if all(engine.kind is ServiceKind.LMCACHE for engine in topology.engines):
        steps = [replace(step, question=steps[0].question) for step in steps]  # here (B) is compared with (A)
    tab.show(tab.state.with_new_nonce())
    for number, step in enumerate(steps, 1):
        _caption(tab, f"{number} of {len(steps)}. {step.caption}")
        await _ask_one(tab, topology.engine(step.engine), step.question, options, media)
    _caption(tab, tour_verdict(tab.state))


async def restart_steps(tab: TabSession, topology: Topology, restart: Restart, poll_s: float = 1.0) -> None:
    """Asks an LMCache engine, restarts it and its cache server, and asks again: only the volume still has the KV.

    Raises ConfigError if the page cannot restart engines, and ArenaError if the engine does not answer.
    """
    engine = next((each for each in topology.engines if each.kind is ServiceKind.LMCACHE), None)
    if engine is None:
        raise ConfigError("no engine here has LMCache, so nothing is stored on a volume")
    if not restart.command:
        raise ConfigError("the page cannot restart engines here: RESTART_COMMAND, which ./arena up sets, is empty")
    name = title(engine)
    tab.show(tab.state.with_new_nonce())
    _caption(tab, f"1 of 4. {name} reads the document for the first time, and stores its KV.")
    first = await _ask_one(tab, engine, FIRST)
    process = await started_at(engine)
    names = (*([engine.cache.name] if engine.cache else []), engine.name)
    _caption(tab, f"2 of 4. Restarting {' and '.join(names)}: what was in memory is gone.")
    await restart.run(names)
    async for waited in _until_restarted(engine, process, poll_s):
        _caption(tab, f"3 of 4. Waiting until {engine.name} is back: {waited:.0f} s.")
    _caption(tab, f"4 of 4. {name}, new in memory, is asked about the same document.")
    second = await _ask_one(tab, engine, SECOND)
    _caption(
        tab,
        f"Before the restart {seconds(first.ttft)} to the first word, after it {seconds(second.ttft)}; "
        f"the prompt came from: {second.source}.",
    )


def tour_verdict(state: TabState) -> str:
    """Returns a sentence with the measured times, and their ratio if both are for the same prompt."""
    panes = state.race.panes
    shared = panes.get("lmcache-b")
    computed = panes.get("plain-b") or panes.get("lmcache-a")
    if not (shared and computed and shared.reply and computed.reply):
        return "Not every engine answered, so there is nothing to compare."
    said = f"Without what (A) stored the first word took {_measured(computed.reply)}; with it {_measured(shared.reply)}"
    if computed.prompt != shared.prompt:
        return f"{said}, to another question."
    ratio = computed.reply.ttft / shared.reply.ttft
    return f"{said}: {ratio:.1f} times sooner." if ratio >= 1 else f"{said}: {1 / ratio:.1f} times later."


async def started_at(engine: Engine) -> float | None:
    """Returns when the engine's process started, by its own clock; None if it does not answer or report it."""
    name = "process_start_time_seconds"
    try:
        return sum_metrics(await fetch_metrics(engine.url), name).get(name)
    except Exception:  # noqa: BLE001  # an engine that is stopping or starting may answer anything
        return None


async def _until_restarted(engine: Engine, process: float | None, poll_s: float) -> AsyncGenerator[float]:
    """Yields the seconds waited so far, until the engine answers from a new process."""
    began = asyncio.get_running_loop().time()
    while (now := await started_at(engine)) is None or now == process:
        waited = asyncio.get_running_loop().time() - began
        if waited > RESTART_TIMEOUT_S:
            raise StackError(
                f"{engine.name} was not restarted within {RESTART_TIMEOUT_S // 60} minutes: ./arena status"
            )
        yield waited
        await asyncio.sleep(poll_s)


async def _ask_one(
    tab: TabSession, engine: Engine, question: str, options: QuestionOptions = ALONE, media: Sequence[Media] = ()
) -> Reply:
    await tab.ask(((engine,),), question, options, media)
    pane = tab.state.race.panes[engine.name]
    if pane.reply is None:
        raise ArenaError(f"the tour ends here: {pane.fault or 'no answer'}")
    return pane.reply


def _caption(tab: TabSession, text: str) -> None:
    tab.show(replace(tab.state, caption=text))


def _measured(reply: Reply) -> str:
    return f"{seconds(reply.ttft)} on {reply.engine} ({reply.source})"
