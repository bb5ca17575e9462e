"""The one line in which questions wait, and the lock shared with the command line: one measurement at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from client.measurement_lock import UNKNOWN, HeldLock, MeasurementLock
from config.errors import StackError

POLL_S = 0.2  # between two attempts to get the lock from another process
YIELD_TO_COMMANDS_S = 0.05  # between two visitors: a command that waits for the lock comes before the second one
QUESTION = "a question on the page"

OnPosition = Callable[[int, str], None]  # how many visitors are before one, and what is measured elsewhere


@dataclass(eq=False, slots=True)
class _QueueEntry:
    told: OnPosition
    first: asyncio.Event = field(default_factory=asyncio.Event)


class MeasurementQueue:
    """First come, first served. Everyone in the line is told how many are before them."""

    def __init__(self, lock: MeasurementLock | None = None) -> None:
        self.lock = lock or MeasurementLock(None)
        self.study = ""  # the benchmark of this page that runs; its process holds the lock
        self._line: list[_QueueEntry] = []
        self._elsewhere = ""

    @property
    def busy(self) -> bool:
        return bool(self._line)

    @property
    def measuring(self) -> str:
        """What is measured now, be it here or by another process; empty while nothing is."""
        if self.study:
            return f"bench {self.study}"
        if self._line and not self._elsewhere:
            return QUESTION
        return self._elsewhere or str(self.lock.holder() or "")

    @asynccontextmanager
    async def turn(self, told: OnPosition, what: str = QUESTION) -> AsyncGenerator[None]:
        """Waits in the line and for the lock, and has both inside. Raises StackError while a benchmark of the page
        runs."""
        if self.study:
            raise StackError(f"bench {self.study} is measuring, and a question would disturb it: wait, or cancel it")
        place, waits = _QueueEntry(told), bool(self._line)
        self._line.append(place)
        self._tell()
        try:
            await place.first.wait()
            if waits:
                await asyncio.sleep(YIELD_TO_COMMANDS_S)
            hold = await self._locked(what)
            try:
                yield
            finally:
                hold.release()
        finally:
            self._line.remove(place)
            self._tell()

    @asynccontextmanager
    async def reserved(self, study: str) -> AsyncGenerator[None]:
        """No question comes meanwhile; the benchmark's own process takes the lock. Raises StackError unless the line is
        empty: nobody should wait for minutes unseen."""
        if self.busy or self.study:
            who = f"bench {self.study}" if self.study else "a question"
            raise StackError(f"{who} is under way, and both would measure each other: start when it is done")
        self.study = study
        try:
            yield
        finally:
            self.study = ""

    async def _locked(self, what: str) -> HeldLock:
        try:
            while (hold := self.lock.attempt(what)) is None:
                self._elsewhere = str(self.lock.holder() or UNKNOWN)
                self._tell()
                await asyncio.sleep(POLL_S)
        finally:
            self._elsewhere = ""
        return hold

    def _tell(self) -> None:
        for before, place in enumerate(self._line):
            place.told(before, self._elsewhere)
            if not before:
                place.first.set()
