"""One question to one or all engines, as states of their panes. Knows nothing of Gradio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from cache.counters import Stored, chunks_to_store, stored_chunks, wait_stored
from engines.client import ask as measured
from engines.errors import ArenaError, StackError
from engines.prompt import Prompt
from engines.reply import Delta, Reply
from engines.topology import CacheServer, Engine, Kind

Ask = Callable[[Engine, Prompt], AsyncGenerator[Delta | Reply]]


@dataclass(frozen=True, slots=True)
class Pane:
    """What is shown of one engine: nothing yet, an answer as it comes, its cost, or why there is none."""

    engine: str
    text: str = ""
    note: str = ""  # what is being waited for
    ttft: float | None = None  # seconds, from the first delta on
    reply: Reply | None = None
    fault: str = ""

    @property
    def at_work(self) -> bool:
        """Waiting, reading, answering or storing."""
        return not self.fault and self.reply is None and bool(self.note or self.text)


@dataclass(frozen=True, slots=True)
class Race:
    """The panes of all engines, in the order of the topology, and which document they are about.

    A pane of an earlier question stays until its engine is asked again, so that the seeds' steps, one engine each, end
    with all four side by side.
    """

    panes: Mapping[str, Pane]
    nonce: str = ""
    document: str = field(default="", repr=False)

    @classmethod
    def of(cls, engines: Sequence[Engine]) -> Race:
        """Empty panes."""
        return cls({engine.name: Pane(engine.name) for engine in engines})

    def about(self, prompt: Prompt) -> Race:
        """The same race for the same prefix; empty panes for another, since their times do not compare."""
        if (prompt.nonce, prompt.document) == (self.nonce, self.document):
            return self
        return Race({name: Pane(name) for name in self.panes}, prompt.nonce, prompt.document)

    def showing(self, pane: Pane) -> Race:
        """The race with this pane in its place."""
        return replace(self, panes={**self.panes, pane.engine: pane})

    def stopped(self) -> Race:
        """Panes that were at work say that they were stopped, and keep the text they have."""
        panes = {
            name: replace(pane, note="", fault="stopped") if pane.at_work else pane for name, pane in self.panes.items()
        }
        return replace(self, panes=panes)

    def baseline(self, engine: Engine) -> Reply | None:
        """The plain engine's reply that an lmcache engine of the same side is compared with."""
        plain = self.panes.get(f"{Kind.PLAIN}-{engine.side}")
        return plain.reply if plain and engine.kind is Kind.LMCACHE else None


def heats(engines: Sequence[Engine], *, pinned: bool) -> tuple[tuple[Engine, ...], ...]:
    """Who is asked at the same time.

    Engines that share cores would measure each other, so they are asked one after the other. Where each has a GPU of
    its own (`pinned`) those of one side start together; side b waits for a, for it is to read what a has stored.
    """
    if not pinned:
        return tuple((engine,) for engine in engines)
    sides = dict.fromkeys(engine.side for engine in engines)
    return tuple(tuple(engine for engine in engines if engine.side == side) for side in sides)


async def run(
    race: Race,
    heats: Sequence[Sequence[Engine]],
    prompt: Prompt,
    ask: Ask = measured,
    stored: Stored = stored_chunks,
) -> AsyncGenerator[Race]:
    """Asks the engines heat by heat, and yields the race after every change.

    An engine that fails says so in its pane, and the others are asked.
    """
    race = race.about(prompt)
    for engine in (engine for heat in heats for engine in heat):
        race = race.showing(Pane(engine.name, note="waiting for its turn"))
    yield race
    for heat in heats:
        async with aclosing(_together([_run_one(engine, prompt, ask, stored) for engine in heat])) as panes:
            async for pane in panes:
                race = race.showing(pane)
                yield race


async def _together(lanes: Sequence[AsyncGenerator[Pane]]) -> AsyncGenerator[Pane]:
    """The panes of all lanes as they come; closing it closes the lanes, and with them their requests."""
    queue = asyncio.Queue[Pane | None]()

    async def drive(lane: AsyncGenerator[Pane]) -> None:
        try:
            async with aclosing(lane):
                async for pane in lane:
                    queue.put_nowait(pane)
        finally:
            queue.put_nowait(None)

    drivers = [asyncio.create_task(drive(lane)) for lane in lanes]
    try:
        left = len(drivers)
        while left:
            if (pane := await queue.get()) is None:
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


async def _run_one(engine: Engine, prompt: Prompt, ask: Ask, stored: Stored) -> AsyncGenerator[Pane]:
    pane = Pane(engine.name, note="reading the prompt")
    yield pane
    try:
        before = await _count(engine, stored)
        async with aclosing(ask(engine, prompt)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    pane = replace(pane, text=pane.text + event.text, ttft=pane.ttft or event.at, note="")
                    yield pane
                else:
                    pane = replace(pane, reply=event)
        chunks = chunks_to_store(pane.reply) if pane.reply else 0
        if engine.cache and before is not None and chunks:  # the other engine can read only what is on the volume
            yield replace(pane, note="storing on the KV volume")
            pane = replace(pane, note=await _settle(engine.cache, before, chunks, stored))
        yield pane
    except ArenaError as exc:
        yield replace(pane, note="", fault=str(exc))


async def _count(engine: Engine, stored: Stored) -> int | None:
    """None without a cache server, or when it is down: the engine then recomputes, and has nothing to wait for."""
    try:
        return await stored(engine.cache) if engine.cache else None
    except StackError:
        return None


async def _settle(cache: CacheServer, before: int, chunks: int, stored: Stored) -> str:
    """Waits for the store; what went wrong with it does not spoil the answer."""
    try:
        await wait_stored(cache, before, chunks, stored=stored)
    except StackError as exc:
        return f"not stored: {exc}"
    return ""
