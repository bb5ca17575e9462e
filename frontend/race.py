"""One question to one or all engines, as states of their panes. Knows nothing of Gradio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from cache.wait_for_store import CountStored, chunks_to_store, count_stored_chunks, wait_until_stored
from client.ask import ask
from client.chunk import Chunk
from client.metrics import TokenCounters, read_counters
from client.prompt import Prompt
from client.reply import Delta, Reply
from client.transport import stream_chat
from config.errors import ArenaError, StackError
from config.topology import CacheServer, Engine, ServiceKind

REPAINT_S = 0.3  # what Chromium takes to draw a race, twice over
OnSent = Callable[[float], None]  # told in how many seconds the request goes out
AskStream = Callable[[Engine, Prompt, OnSent], AsyncGenerator[Delta | Reply]]


class PaneStatus(StrEnum):
    """Where a pane is between a question and its answer."""

    IDLE = "idle"
    QUEUED = "queued"  # others are asked first
    ASKED = "asked"  # the engine reads the prompt
    ANSWERING = "answering"
    STORING = "storing"  # what it computed goes to the KV volume
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


AT_WORK = (PaneStatus.QUEUED, PaneStatus.ASKED, PaneStatus.ANSWERING, PaneStatus.STORING)


@dataclass(frozen=True, slots=True)
class Pane:
    """What is shown of one engine: nothing yet, an answer as it comes, its cost, or why there is none."""

    engine: str
    stage: PaneStatus = PaneStatus.IDLE
    prompt: Prompt | None = field(default=None, repr=False)  # what it was asked
    text: str = ""
    ttft: float | None = None  # seconds, from the first delta on
    reply: Reply | None = None
    fault: str = ""  # why there is no whole answer
    note: str = ""  # what went wrong after it
    calm: float = 0.0  # seconds from when it is first shown as asked until the request goes out
    sent: float = 0.0  # when the request went out, in Unix time
    first: float = 0.0  # when the first delta came, in Unix time
    reasoning: str = ""  # came before the text, and is no part of the answer

    @property
    def at_work(self) -> bool:
        return self.stage in AT_WORK

    def grown(self, delta: Delta) -> Pane:
        """With what has come; the first of it ends the clock, be it reasoning or answer."""
        pane = self
        if pane.ttft is None:
            pane = replace(pane, stage=PaneStatus.ANSWERING, ttft=delta.at, first=time.time())
        if delta.reasoning:
            return replace(pane, reasoning=pane.reasoning + delta.text)
        return replace(pane, text=pane.text + delta.text)

    def stopped(self) -> Pane:
        """As `ended`, by whoever asked."""
        return self.ended(PaneStatus.STOPPED, "stopped")

    def ended(self, stage: PaneStatus, why: str) -> Pane:
        """Before its time: keeps the text it has. An answer that was only being stored is whole."""
        if not self.at_work:
            return self
        if self.stage is PaneStatus.QUEUED or time.time() < self.sent:  # nobody has asked it anything
            return Pane(self.engine)
        if self.reply:
            return replace(self, stage=PaneStatus.DONE, note=f"not stored: {why}")
        return replace(self, stage=stage, fault=why)


OnPaneChange = Callable[[Pane], None]


@dataclass(frozen=True, slots=True)
class Race:
    """The panes of all engines, in the order of the topology, and what they are about.

    A pane of an earlier question stays until its engine is asked again, so that the seeds' steps, one engine each, end
    with all four side by side.
    """

    panes: Mapping[str, Pane]
    prompt: Prompt | None = field(default=None, repr=False)  # the last one

    @classmethod
    def of(cls, engines: Sequence[Engine]) -> Race:
        """Empty panes."""
        return cls({engine.name: Pane(engine.name) for engine in engines})

    def about(self, prompt: Prompt) -> Race:
        """The same race for the same prefix; empty panes for another, since their times do not compare."""
        panes = self.panes if _comparable(prompt, self.prompt) else {name: Pane(name) for name in self.panes}
        return Race(panes, prompt)

    def showing(self, pane: Pane) -> Race:
        """The race with this pane in its place."""
        return replace(self, panes={**self.panes, pane.engine: pane})

    def stopped(self) -> Race:
        """Panes that were at work say that they were stopped, and keep the text they have."""
        return replace(self, panes={name: pane.stopped() for name, pane in self.panes.items()})

    def broken(self, why: str) -> Race:
        """The same when it was nobody's wish."""
        return replace(self, panes={name: pane.ended(PaneStatus.FAILED, why) for name, pane in self.panes.items()})

    def baseline(self, engine: Engine) -> Pane | None:
        """The plain engine's pane that an lmcache engine of its side is compared with: both answered one prompt."""
        plain, own = self.panes.get(f"{ServiceKind.PLAIN}-{engine.side}"), self.panes[engine.name]
        if engine.kind is not ServiceKind.LMCACHE or plain is None or plain.prompt != own.prompt:
            return None
        return plain if plain.reply and own.reply else None


def _comparable(new: Prompt, old: Prompt | None) -> bool:
    """Whether both open alike, up to where a question may differ."""
    return old is not None and _opening(new) == _opening(old)


def _opening(prompt: Prompt) -> tuple[object, ...]:
    return prompt.nonce, prompt.document, prompt.turns, prompt.media


def ask_groups(engines: Sequence[Engine], *, pinned: bool) -> tuple[tuple[Engine, ...], ...]:
    """Who is asked at the same time.

    Engines that share cores would measure each other, so they are asked one after the other. Where each has a GPU of
    its own (`pinned`) those of one side start together; side b waits for a, for it is to read what a has stored.
    """
    if not pinned:
        return tuple((engine,) for engine in engines)
    sides = dict.fromkeys(engine.side for engine in engines)
    return tuple(tuple(engine for engine in engines if engine.side == side) for side in sides)


def ask_engine(engine: Engine, prompt: Prompt, sent: OnSent) -> AsyncGenerator[Delta | Reply]:
    """`client.ask.ask`, which also tells when the request goes out: then the pane's clock starts."""

    def opened(engine: Engine, request: Chunk) -> AsyncGenerator[Chunk]:
        sent(0)
        return stream_chat(engine, request)

    return ask(engine, prompt, open_stream=opened)


async def ask_after_repaint(engine: Engine, prompt: Prompt, sent: OnSent) -> AsyncGenerator[Delta | Reply]:
    """`measured` on shared cores: when the browser, which may draw on them too, has drawn the clock and all before."""
    drawn = False

    async def counted(engine: Engine) -> TokenCounters | None:
        nonlocal drawn
        counters = await read_counters(engine)
        if not drawn:  # what comes next is the request
            drawn = True
            sent(REPAINT_S)
            await asyncio.sleep(REPAINT_S)
        return counters

    async with aclosing(ask(engine, prompt, counters=counted)) as events:
        async for event in events:
            yield event


async def ask_all(
    race: Race,
    heats: Sequence[Sequence[Engine]],
    prompt: Prompt,
    ask: AskStream = ask_engine,
    stored: CountStored = count_stored_chunks,
) -> AsyncGenerator[Race]:
    """Asks the engines heat by heat, and yields the race after every change.

    An engine that fails says so in its pane, and the others are asked. Closing it closes the requests.
    """
    race = race.about(prompt)
    for engine in (engine for heat in heats for engine in heat):
        race = race.showing(Pane(engine.name, PaneStatus.QUEUED, prompt))
    yield race
    for heat in heats:
        shown = asyncio.Queue[Pane | None]()
        lanes = [_run_one(engine, prompt, ask, stored, shown.put_nowait) for engine in heat]
        async with aclosing(_merge_lanes(lanes, shown)) as panes:
            async for pane in panes:
                race = race.showing(pane)
                yield race


async def _merge_lanes(
    lanes: Sequence[Coroutine[Any, Any, None]], shown: asyncio.Queue[Pane | None]
) -> AsyncGenerator[Pane]:
    """The panes of all lanes as they come; closing it cancels the lanes, and with them their requests."""
    drivers = [asyncio.create_task(lane) for lane in lanes]
    for driver in drivers:
        driver.add_done_callback(lambda _: shown.put_nowait(None))
    try:
        left = len(drivers)
        while left:
            if (pane := await shown.get()) is None:
                left -= 1
            else:
                yield pane
    finally:
        for driver in drivers:
            driver.cancel()
        ended = await asyncio.gather(*drivers, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, Exception):
            raise failure


async def _run_one(engine: Engine, prompt: Prompt, ask: AskStream, stored: CountStored, show: OnPaneChange) -> None:
    pane = Pane(engine.name, PaneStatus.QUEUED, prompt)

    def sent(calm: float) -> None:
        nonlocal pane
        pane = replace(pane, stage=PaneStatus.ASKED, calm=calm, sent=time.time() + calm)
        show(pane)

    try:
        before = await _count(engine, stored)
        async with aclosing(ask(engine, prompt, sent)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    pane = pane.grown(event)
                    show(pane)
                else:
                    pane = replace(pane, reply=event, stage=PaneStatus.STORING)
        chunks = chunks_to_store(pane.reply) if pane.reply else 0
        if engine.cache and before is not None and chunks:  # the other engine can read only what is on the volume
            show(pane)
            pane = replace(pane, note=await _await_store(engine.cache, before, chunks, stored))
        show(replace(pane, stage=PaneStatus.DONE))
    except ArenaError as exc:
        show(replace(pane, stage=PaneStatus.FAILED, fault=str(exc)))


async def _count(engine: Engine, stored: CountStored) -> int | None:
    """None without a cache server, or when it is down: the engine then recomputes, and has nothing to wait for."""
    try:
        return await stored(engine.cache) if engine.cache else None
    except StackError:
        return None


async def _await_store(cache: CacheServer, before: int, chunks: int, stored: CountStored) -> str:
    """Waits for the store; what went wrong with it does not spoil the answer."""
    try:
        await wait_until_stored(cache, before, chunks, stored=stored)
    except StackError as exc:
        return f"not stored: {exc}"
    return ""
