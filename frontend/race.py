"""One question to one or several engines, as states of their panes. Knows nothing of Gradio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from cache.wait_for_store import CountStored, chunks_to_store, count_stored_chunks, wait_until_stored
from client.ask import BeforeSend, ask
from client.prompt import Prompt
from client.reply import Delta, Reply
from config.errors import ArenaError, StackError
from config.topology import Engine, ServiceKind

REPAINT_S = 0.3  # twice what Chromium takes to draw a race


class PaneStatus(StrEnum):
    """Where a pane is between a question and its answer."""

    IDLE = "idle"
    QUEUED = "queued"  # other engines are asked first
    ASKED = "asked"  # the engine reads the prompt
    ANSWERING = "answering"
    STORING = "storing"  # the KV that it computed is written to the volume
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


AT_WORK = (PaneStatus.QUEUED, PaneStatus.ASKED, PaneStatus.ANSWERING, PaneStatus.STORING)


@dataclass(frozen=True, slots=True)
class Pane:
    """What is shown of one engine: nothing yet, an answer as it comes, its cost, or why there is none."""

    engine: str
    status: PaneStatus = PaneStatus.IDLE
    prompt: Prompt | None = field(default=None, repr=False)  # what it was asked
    text: str = ""
    ttft: float | None = None  # seconds, from the first delta on
    reply: Reply | None = None
    fault: str = ""  # why there is no whole answer
    note: str = ""  # what went wrong after the answer
    pause_s: float = 0.0  # from when it is first shown as asked until the request is sent
    sent: float = 0.0  # when the request was sent, in Unix time
    first: float = 0.0  # when the first delta came, in Unix time
    reasoning: str = ""  # came before the text, and is no part of the answer

    @property
    def at_work(self) -> bool:
        return self.status in AT_WORK

    def with_delta(self, delta: Delta) -> Pane:
        """The first delta ends the clock, be it reasoning or answer."""
        pane = self
        if pane.ttft is None:
            pane = replace(pane, status=PaneStatus.ANSWERING, ttft=delta.at, first=time.time())
        if delta.reasoning:
            return replace(pane, reasoning=pane.reasoning + delta.text)
        return replace(pane, text=pane.text + delta.text)

    def ended(self, status: PaneStatus, why: str) -> Pane:
        """The pane of a run that ends early: it keeps its text. An answer that was only being stored is complete."""
        if not self.at_work:
            return self
        if self.status is PaneStatus.QUEUED or time.time() < self.sent:  # no request was sent
            return Pane(self.engine)
        if self.reply:
            return replace(self, status=PaneStatus.DONE, note=f"not stored: {why}")
        return replace(self, status=status, fault=why)


@dataclass(frozen=True, slots=True)
class Race:
    """The panes of all engines, in the order of the topology, and the last prompt.

    A pane of an earlier question stays until its engine is asked again, so that a tour, which asks one engine in each
    step, ends with all four side by side.
    """

    panes: Mapping[str, Pane]
    prompt: Prompt | None = field(default=None, repr=False)

    @classmethod
    def of(cls, engines: Sequence[Engine]) -> Race:
        """Empty panes."""
        return cls({engine.name: Pane(engine.name) for engine in engines})

    def about(self, prompt: Prompt) -> Race:
        """Keeps the panes only if this prompt has the same prefix as the last: otherwise times do not compare."""
        same_prefix = self.prompt is not None and _prefix(prompt) == _prefix(self.prompt)
        return Race(self.panes if same_prefix else {name: Pane(name) for name in self.panes}, prompt)

    def with_pane(self, pane: Pane) -> Race:
        return replace(self, panes={**self.panes, pane.engine: pane})

    def ended(self, status: PaneStatus, why: str) -> Race:
        """Ends all panes that are at work."""
        return replace(self, panes={name: pane.ended(status, why) for name, pane in self.panes.items()})

    def baseline(self, engine: Engine) -> Pane | None:
        """The plain engine's pane that an LMCache engine of its side is compared with: both answered one prompt."""
        plain, own = self.panes.get(f"{ServiceKind.PLAIN}-{engine.side}"), self.panes[engine.name]
        if engine.kind is not ServiceKind.LMCACHE or plain is None or plain.prompt != own.prompt:
            return None
        return plain if plain.reply and own.reply else None


def _prefix(prompt: Prompt) -> tuple[object, ...]:
    """What stands before the question."""
    return prompt.nonce, prompt.document, prompt.turns, prompt.media


class AskStream(Protocol):
    """`client.ask.ask`, or a fake of it."""

    def __call__(self, engine: Engine, prompt: Prompt, *, before_send: BeforeSend) -> AsyncGenerator[Delta | Reply]: ...


Groups = Sequence[Sequence[Engine]]  # the engines of a group are asked at the same time
ShowPane = Callable[[Pane], None]
AskAll = Callable[[Groups, Prompt, ShowPane], Awaitable[None]]


def ask_groups(engines: Sequence[Engine], *, gpu_per_engine: bool) -> tuple[tuple[Engine, ...], ...]:
    """Which engines are asked at the same time.

    Engines that share cores would disturb each other's timings, so they are asked one after the other. If each has a
    GPU of its own, those of one side start together; side b waits for a, since it is to read what a has stored.
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
    stored: CountStored = count_stored_chunks,
) -> None:
    """Asks the engines group by group, and shows a pane whenever it changes.

    `pause_s` (REPAINT_S where cores are shared) lets the browser draw before each request is sent. An engine's failure
    is shown in its pane, and the others are asked. Cancelling the task that runs this closes the requests.
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
        if engine.cache and before is not None and chunks:  # the other engine can read only what is on the volume
            show(pane)
            try:
                await wait_until_stored(engine.cache, before, chunks, stored=stored)
            except StackError as exc:  # the answer is good all the same
                pane = replace(pane, note=f"not stored: {exc}")
        show(replace(pane, status=PaneStatus.DONE))
    except ArenaError as exc:
        show(replace(pane, status=PaneStatus.FAILED, fault=str(exc)))


async def _stored_before(engine: Engine, stored: CountStored) -> int | None:
    """None without a cache server, or when it is down: the engine then recomputes, and nothing is waited for."""
    try:
        return await stored(engine.cache) if engine.cache else None
    except StackError:
        return None
