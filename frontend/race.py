"""Asks one or several engines a question, and models their panes. Does not depend on Gradio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from cache.wait_for_store import CountStored, chunks_to_store, count_stored, wait_until_stored
from client.ask import BeforeSend, ask
from client.prompt import Prompt
from client.reply import Delta, Reply
from config.errors import ArenaError, StackError
from config.topology import Engine, ServiceKind

REPAINT_S = 0.3  # twice as long as Chromium takes to draw a race


class PaneStatus(StrEnum):
    """A pane's progress from question to answer."""

    IDLE = "idle"
    QUEUED = "queued"  # waiting while other engines are asked
    ASKED = "asked"  # the engine is processing the prompt
    ANSWERING = "answering"
    STORING = "storing"  # the computed KV is being written to the volume
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


AT_WORK = (PaneStatus.QUEUED, PaneStatus.ASKED, PaneStatus.ANSWERING, PaneStatus.STORING)


@dataclass(frozen=True, slots=True)
class Pane:
    """What is shown for one engine: nothing yet, an answer as it streams, its cost, or why it failed."""

    engine: str
    status: PaneStatus = PaneStatus.IDLE
    prompt: Prompt | None = field(default=None, repr=False)  # the prompt sent to the engine
    text: str = ""
    ttft: float | None = None  # seconds, from the first delta on
    reply: Reply | None = None
    fault: str = ""  # why there is no complete answer
    note: str = ""  # what went wrong after the answer
    pause_s: float = 0.0  # between showing the pane as asked and sending the request
    sent: float = 0.0  # when the request was sent, in Unix time
    first: float = 0.0  # when the first delta came, in Unix time
    reasoning: str = ""  # precedes the text, and is not part of the answer

    @property
    def at_work(self) -> bool:
        return self.status in AT_WORK

    def with_delta(self, delta: Delta) -> Pane:
        """Adds a delta. The first one, reasoning or answer, sets the TTFT."""
        pane = self
        if pane.ttft is None:
            pane = replace(pane, status=PaneStatus.ANSWERING, ttft=delta.at, first=time.time())
        if delta.reasoning:
            return replace(pane, reasoning=pane.reasoning + delta.text)
        return replace(pane, text=pane.text + delta.text)

    def ended(self, status: PaneStatus, why: str) -> Pane:
        """Returns the pane after its run ended early: it keeps its text. If only storing was unfinished, it is done."""
        if not self.at_work:
            return self
        if self.status is PaneStatus.QUEUED or time.time() < self.sent:  # no request was sent
            return Pane(self.engine)
        if self.reply:
            return replace(self, status=PaneStatus.DONE, note=f"not stored: {why}")
        return replace(self, status=status, fault=why)


@dataclass(frozen=True, slots=True)
class Race:
    """The panes of all engines, in topology order, and the last prompt.

    A pane is kept until its engine is asked again, so that a tour, which asks one engine per step, ends with all four
    side by side.
    """

    panes: Mapping[str, Pane]
    prompt: Prompt | None = field(default=None, repr=False)

    @classmethod
    def of(cls, engines: Sequence[Engine]) -> Race:
        """Returns a race with empty panes."""
        return cls({engine.name: Pane(engine.name) for engine in engines})

    def about(self, prompt: Prompt) -> Race:
        """Keeps the panes only if the prompt has the same prefix as the last: otherwise times cannot be compared."""
        same_prefix = self.prompt is not None and _prefix(prompt) == _prefix(self.prompt)
        return Race(self.panes if same_prefix else {name: Pane(name) for name in self.panes}, prompt)

    def with_pane(self, pane: Pane) -> Race:
        return replace(self, panes={**self.panes, pane.engine: pane})

    def ended(self, status: PaneStatus, why: str) -> Race:
        """Ends all panes that are still running."""
        return replace(self, panes={name: pane.ended(status, why) for name, pane in self.panes.items()})

    def baseline(self, engine: Engine) -> Pane | None:
        """Returns the pane of the plain engine on an LMCache engine's side, if both answered the same prompt."""
        plain, own = self.panes.get(f"{ServiceKind.PLAIN}-{engine.side}"), self.panes[engine.name]
        if engine.kind is not ServiceKind.LMCACHE or plain is None or plain.prompt != own.prompt:
            return None
        return plain if plain.reply and own.reply else None


def _prefix(prompt: Prompt) -> tuple[object, ...]:
    """Returns the part of a prompt before the question."""
    return prompt.nonce, prompt.document, prompt.turns, prompt.media


class AskStream(Protocol):
    """The type of `client.ask.ask` and of its fakes."""

    def __call__(self, engine: Engine, prompt: Prompt, *, before_send: BeforeSend) -> AsyncGenerator[Delta | Reply]: ...


Groups = Sequence[Sequence[Engine]]  # the engines of a group are asked at the same time
ShowPane = Callable[[Pane], None]
AskAll = Callable[[Groups, Prompt, ShowPane], Awaitable[None]]


def ask_groups(engines: Sequence[Engine], *, gpu_per_engine: bool) -> tuple[tuple[Engine, ...], ...]:
    """Groups the engines that are asked at the same time.

    Engines that share cores would disturb each other's timings, so they are asked one after the other. If each has its
    own GPU, the engines of one side start together; side b waits for side a, to read what it has stored.
    """
    if not gpu_per_engine:
        return tuple((engine,) for engine in engines)
    sides = dict.fromkeys(engine.side for engine in engines)
    return tuple(tuple(engine for engine in engines if engine.side == side) for side in sides)


async def ask_all(
    groups: Groups,
    prompt: Prompt,
    show: ShowPane,
    *,
    pause_s: float = 0.0,
    ask: AskStream = ask,
    stored: CountStored = count_stored,
) -> None:
    """Asks the engines group by group, and calls `show` whenever a pane changes.

    `pause_s` (REPAINT_S if cores are shared) lets the browser draw before each request is sent. If an engine fails, its
    pane shows the error and the others are still asked. Cancelling the calling task closes the requests.
    """
    for group in groups:
        async with asyncio.TaskGroup() as tasks:
            for engine in group:
                tasks.create_task(_ask_one(engine, prompt, show, pause_s, ask, stored))


async def _ask_one(
    engine: Engine, prompt: Prompt, show: ShowPane, pause_s: float, ask: AskStream, stored: CountStored
) -> None:
    pane = Pane(engine.name, PaneStatus.QUEUED, prompt)

    async def start_clock() -> None:
        nonlocal pane
        pane = replace(pane, status=PaneStatus.ASKED, pause_s=pause_s, sent=time.time() + pause_s)
        show(pane)
        await asyncio.sleep(pause_s)

    try:
        before = await _stored_before(engine, stored)
        async with aclosing(ask(engine, prompt, before_send=start_clock)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    pane = pane.with_delta(event)
                    show(pane)
                else:
                    pane = replace(pane, reply=event, status=PaneStatus.STORING)
        chunks = chunks_to_store(pane.reply) if pane.reply else 0
        if engine.store and before is not None and chunks:  # the other engine can read only KV that is on the volume
            show(pane)
            try:
                await wait_until_stored(engine.store, before, chunks, stored=stored)
            except StackError as exc:  # the answer is still valid
                pane = replace(pane, note=f"not stored: {exc}")
        show(replace(pane, status=PaneStatus.DONE))
    except ArenaError as exc:
        show(replace(pane, status=PaneStatus.FAILED, fault=str(exc)))


async def _stored_before(engine: Engine, stored: CountStored) -> int | None:
    """Returns how much is stored so far. None if the engine stores nothing, or if its cache server is down: it then
    recomputes, and there is nothing to wait for."""
    try:
        return await stored(engine.store) if engine.store else None
    except StackError:
        return None
