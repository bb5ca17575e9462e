"""Who is here: a desk for each open tab, and a person's history that outlives a reload. Nobody sees another's."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from client import documents as documents
from client.documents import read_document
from config.errors import ArenaError, StackError
from frontend.history import History
from frontend.measurement_queue import MeasurementQueue
from frontend.tab_state import TabState

FRAME_S = 0.03  # between two frames of one tab: more often, text comes no sooner, and the engines lose CPU time
KEPT_S = 3600  # a history after its last tab was closed
MAX_TABS, MAX_VISITORS = 500, 500  # at most; the idlest go
MAX_CLOSED = 100_000  # sessions that are remembered as closed
HELD_BYTES = 512 * 2**20  # of all visitors' documents and media: a quarter of the memory that the page's container has
CLOSED = "the connection to this tab was lost, and with it the document: reload the page"
DROPPED = "more visitors came than the page has room for, and this tab's document was dropped: reload the page"

BUILT_IN_TEXTS = frozenset(read_document(path) for path in documents.BUILT_IN)  # which all visitors share

StateStream = Callable[[TabState], AsyncGenerator[TabState]]


@dataclass(eq=False)
class Visitor:
    """One browser, known by a random token that it keeps."""

    history: History = field(default_factory=History)
    tabs: int = 0
    left: float = 0.0  # when the last tab was closed, on a monotonic clock

    @property
    def busy(self) -> bool:
        return self.tabs > 0


class TabSession:
    """One tab: its visit, and at most one run at a time."""

    def __init__(self, visit: TabState, person: Visitor) -> None:
        self.visit, self.person = visit, person
        self._run: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        return self._run is not None

    async def play(self, track: MeasurementQueue, script: StateStream) -> AsyncGenerator[TabState]:
        """The visit as it changes, at most every FRAME_S, its last state always.

        Raises what the script raises, and StackError when this tab's last run is still under way. Closing it stops the
        run and frees the engine.
        """
        if self._run:
            raise StackError("this tab's last question is still being answered: wait, or press Stop")
        self._changed.clear()
        run = self._run = asyncio.create_task(self._drive(track, script))
        run.add_done_callback(lambda _: self._changed.set())
        try:
            while not run.done():
                await self._changed.wait()
                self._changed.clear()
                yield self.visit
                await asyncio.sleep(FRAME_S)
            if not run.cancelled():
                run.result()
        finally:
            await self.stop()
            self._run = None
        yield self.visit

    async def stop(self) -> None:
        """Ends the run, if there is one; returns when its requests are closed."""
        self.cancel()
        if self._run:
            await asyncio.wait({self._run})

    @property
    def held_bytes(self) -> int:
        """Of the tab's document and media, as they are kept in memory; each counts once."""
        visit = self.visit
        asked = [pane.prompt for pane in visit.race.panes.values() if pane.prompt]
        media = {*visit.media, *(each for prompt in asked for each in prompt.media)}
        documents = {visit.document, *(prompt.document for prompt in asked)} - BUILT_IN_TEXTS
        return sum(len(each.base64) for each in media) + sum(map(len, documents))

    def cancel(self) -> None:
        """Begins to end the run. Once: a second time would break off the closing of its requests."""
        if self._run and not self._run.cancelling():
            self._run.cancel()

    async def _drive(self, track: MeasurementQueue, script: StateStream) -> None:
        def told(before: int, elsewhere: str) -> None:
            if (before, elsewhere) != (self.visit.before, self.visit.elsewhere):
                self._show(replace(self.visit, before=before, elsewhere=elsewhere))

        try:
            async with track.turn(told), aclosing(script(replace(self.visit, before=0, elsewhere=""))) as visits:
                async for visit in visits:
                    self._show(visit)
        except asyncio.CancelledError:
            self._show(self.visit.stopped())
            raise
        except Exception as exc:
            self._show(
                self.visit.broken(str(exc) if isinstance(exc, ArenaError) else "the page failed; its log says why")
            )
            raise

    def _show(self, visit: TabState) -> None:
        """A pane whose work is over becomes a row."""
        was, self.visit = self.visit.race.panes, visit
        for name, pane in visit.race.panes.items():
            if was[name].at_work and not pane.at_work and pane.prompt:
                self.person.history.add(pane, visit.context(pane.prompt))
        self._changed.set()


class SessionStore:
    """All desks, by the tab's session, and all people, by their token."""

    def __init__(
        self,
        start: TabState,
        clock: Callable[[], float] = time.monotonic,
        desks: int = MAX_TABS,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self._start, self._clock, self._most, self._most_bytes = start, clock, desks, held_bytes
        self._desks = OrderedDict[str, TabSession]()
        self._left = OrderedDict[str, str]()  # and why
        self._people = OrderedDict[str, Visitor]()

    def desk(self, session: str) -> TabSession:
        """This tab's, made at its first call; such a tab has a history of its own until it tells who it is.

        Raises StackError for one that was closed or dropped: what it asked about is gone, but not from the eyes of its
        visitor.
        """
        if why := self._left.get(session):
            raise StackError(why)
        if session not in self._desks:
            if len(self._desks) >= self._most:
                self._drop(_least_recent(self._desks))
            self._desks[session] = TabSession(self._start.cold(), Visitor())
        self._desks.move_to_end(session)
        return self._desks[session]

    def greet(self, session: str, token: str) -> TabSession:
        """The tab tells who it is: its history is then that of the person's other tabs, and of before a reload."""
        self._forget()
        desk = self.desk(session)
        if token and desk.person is not (person := self._person(token)):
            person.history.take(desk.person.history)
            desk.person = person
            person.tabs += 1
        return desk

    async def leave(self, session: str) -> None:
        """The tab was closed: its run is stopped, and its engine free."""
        if session in self._desks:
            await self._take_down(session, CLOSED).stop()
        self._forget()

    def make_room(self, keep: TabSession) -> None:
        """Drops the desks that were used least recently, but for `keep`, until what is held is within the budget."""
        held = {session: desk.held_bytes for session, desk in self._desks.items()}
        over = sum(held.values()) - self._most_bytes
        for session in sorted(held, key=lambda session: self._desks[session].busy):  # those at work go last
            if over > 0 and held[session] and self._desks[session] is not keep:
                self._drop(session)
                over -= held[session]

    def _person(self, token: str) -> Visitor:
        if token not in self._people and len(self._people) >= MAX_VISITORS:
            del self._people[_least_recent(self._people)]
        person = self._people.setdefault(token, Visitor())
        self._people.move_to_end(token)
        return person

    def _drop(self, session: str) -> None:
        self._take_down(session, DROPPED).cancel()

    def _take_down(self, session: str, why: str) -> TabSession:
        self._left[session] = why
        if len(self._left) > MAX_CLOSED:
            self._left.popitem(last=False)
        desk = self._desks.pop(session)
        desk.person.tabs -= 1
        desk.person.left = self._clock()
        return desk

    def _forget(self) -> None:
        gone = [
            token
            for token, person in self._people.items()
            if person.tabs <= 0 and (not person.history.rows or self._clock() - person.left > KEPT_S)
        ]
        for token in gone:
            del self._people[token]


def _least_recent(known: Mapping[str, TabSession] | Mapping[str, Visitor]) -> str:
    """Whoever came first of those who do nothing, or else of all."""
    return next((key for key, each in known.items() if not each.busy), next(iter(known)))
