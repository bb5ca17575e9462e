"""Prompts, panes, tabs and requests for the page's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from fakes import a_reply

from client.prompt import Prompt
from client.reply import Delta
from config.errors import StackError
from config.topology import CacheServer, Engine, Topology
from frontend.link import NO_LINK
from frontend.measurement_queue import MeasurementQueue
from frontend.race import Pane, PaneStatus, ask_all
from frontend.race_handlers import RaceHandlers
from frontend.sessions import TabSession
from frontend.tab_state import TabState
from media import Media, Modality

PROMPT = Prompt("Why?", "A document.", "n0nce")


def a_request(session: str = "tab") -> Any:
    """Returns a request as Gradio passes it to a handler."""
    return SimpleNamespace(session_hash=session)


def a_picture(name: str) -> Media:
    return Media.of(Modality.IMAGE, f"{name}.png", "image/png", name.encode())


def a_state(topology: Topology) -> TabState:
    return TabState.begin(topology.engines, "a name", "A document.")


class RecordingTab(TabSession):
    """A tab that records every state it shows."""

    def __init__(self, state: TabState, ask: Any = ask_all, queue: MeasurementQueue | None = None) -> None:
        self.queue = queue or MeasurementQueue()
        super().__init__(state, self.queue, ask)
        self.states = list[TabState]()

    def show(self, state: TabState) -> None:
        super().show(state)
        self.states.append(state)

    def show_pane(self, status: PaneStatus, text: str = "", engine: str = "plain-a", **more: Any) -> None:
        """Shows the engine's pane with an answer to PROMPT."""
        race = self.state.race.about(PROMPT).with_pane(Pane(engine, status, PROMPT, text, **more))
        self.show(replace(self.state, race=race))


def answered_by(answer: Any) -> Any:
    """Returns an `ask_all` whose engines answer with `answer`; cache servers are down, so no store is waited for."""

    async def down(cache: CacheServer) -> int:
        raise StackError(f"{cache.name} does not answer")

    return partial(ask_all, ask=answer, stored=down)


async def an_answer(engine: Engine, _prompt: Prompt, *, before_send: Any) -> AsyncGenerator[Any]:
    """Answers at once, but reports a TTFT of half a second."""
    await before_send()
    yield Delta("an answer", 0.5)
    yield a_reply(engine, ttft=0.5)


async def take_turn(tab: TabSession, then: Coroutine[Any, Any, Any] | None = None) -> None:
    """Waits for the tab's turn, then awaits `then`, or blocks for ever."""
    async with tab.turn(NO_LINK):
        await (then or asyncio.Event().wait())


def asking(
    handlers: RaceHandlers,
    question: str = "Why?",
    *,
    engine: str = "plain-a",
    seed: int | None = 0,
    files: list[str] | None = None,
    session: str = "tab",
) -> AsyncGenerator[Any]:
    """Returns what a click on Ask runs."""
    return handlers.ask(engine, question, 8, 0, seed, False, True, files, None, None, None, a_request(session))


async def all_of(frames: AsyncIterator[Any]) -> list[Any]:
    return [frame async for frame in frames]
