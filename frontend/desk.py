"""Who is here: a desk for each open tab, and a person's history that outlives a reload. Nobody sees another's."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

from engines.errors import StackError
from frontend.history import History
from frontend.race import Pane
from frontend.track import Track
from frontend.visitor import Visit

FRAME_S = 0.03  # between two frames of one tab: more often, text comes no sooner, and the engines lose CPU time
KEPT_S = 3600  # a history after its last tab was closed
DESKS, PEOPLE = 500, 500  # at most; the oldest go

Script = Callable[[Visit], AsyncGenerator[Visit]]


@dataclass(eq=False)
class Person:
    """One browser, known by a random token that it keeps."""

    history: History = field(default_factory=History)
    tabs: int = 0
    left: float = 0.0  # when the last tab was closed, on a monotonic clock


class Desk:
    """One tab: its visit, and at most one run at a time."""

    def __init__(self, visit: Visit, person: Person) -> None:
        self.visit, self.person = visit, person
        self._run: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._noted: dict[str, Pane] = {}

    async def play(self, track: Track, script: Script) -> AsyncGenerator[Visit]:
        """The visit as it changes, at most every FRAME_S, its last state always.

        Raises what the script raises, and StackError when this tab's last run is still under way. Closing it stops the
        run and frees the engine.
        """
        if self._run:
            raise StackError("this tab's last question is still being answered: wait, or press Stop")
        self._changed.clear()
        self._noted = dict(self.visit.race.panes)
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
        if (run := self._run) and not run.done():
            run.cancel()
            with suppress(asyncio.CancelledError):
                await run

    async def _drive(self, track: Track, script: Script) -> None:
        def told(before: int) -> None:
            self._show(replace(self.visit, before=before))

        try:
            async with track.turn(told), aclosing(script(replace(self.visit, before=0))) as visits:
                async for visit in visits:
                    self._show(visit)
        except asyncio.CancelledError:
            self._show(self.visit.stopped())
            raise

    def _show(self, visit: Visit) -> None:
        self.visit = visit
        for name, pane in visit.race.panes.items():
            if pane != self._noted.get(name) and pane.prompt and not pane.at_work:
                self.person.history.add(pane, visit.name)
                self._noted[name] = pane
        self._changed.set()


class Reception:
    """All desks, by the tab's session, and all people, by their token."""

    def __init__(self, start: Visit, clock: Callable[[], float] = time.monotonic) -> None:
        self._start, self._clock = start, clock
        self._desks = OrderedDict[str, Desk]()
        self._people = OrderedDict[str, Person]()

    def desk(self, session: str) -> Desk:
        """This tab's, made at its first call; such a tab has a history of its own until it tells who it is."""
        if session not in self._desks:
            self._desks[session] = Desk(self._start.cold(), Person())
            while len(self._desks) > DESKS:
                self._desks.popitem(last=False)
        return self._desks[session]

    def greet(self, session: str, token: str) -> Desk:
        """The tab tells who it is: its history is then that of the person's other tabs, and of before a reload."""
        self._forget()
        person = self._people.setdefault(token, Person()) if token else Person()
        if token:
            self._people.move_to_end(token)
        while len(self._people) > PEOPLE:
            self._people.popitem(last=False)
        desk = self.desk(session)
        desk.person = person
        person.tabs += 1
        return desk

    async def leave(self, session: str) -> None:
        """The tab was closed: its run is stopped, and its engine free."""
        if desk := self._desks.pop(session, None):
            await desk.stop()
            desk.person.tabs -= 1
            desk.person.left = self._clock()
        self._forget()

    def _forget(self) -> None:
        gone = [
            token
            for token, person in self._people.items()
            if person.tabs <= 0 and (not person.history.rows or self._clock() - person.left > KEPT_S)
        ]
        for token in gone:
            del self._people[token]
