"""The line in which questions wait, and the lock shared with the command line: one measurement at a time.

Gradio's own queue shows a position, too, but a benchmark cannot hold it, and whoever waits in it cannot be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from client.measurement_lock import UNKNOWN, HeldLock, MeasurementLock
from config.errors import StackError

POLL_S = 0.2  # between two attempts to get the lock from another process
YIELD_TO_COMMANDS_S = 0.05  # between two visitors: a command that waits for the lock comes before the second one
QUESTION = "a question on the page"

OnPosition = Callable[[int, str], None]  # how many visitors are ahead, and what is measured elsewhere


class MeasurementQueue:
    """First come, first served. Each entry of the line is informed when its position changes."""

    def __init__(self, lock: MeasurementLock | None = None) -> None:
        self.lock = lock or MeasurementLock(None)
        self.bench_kind = ""  # the benchmark of this page that runs; its process holds the lock
        self._entries: list[OnPosition] = []
        self._first = asyncio.Lock()  # held by the first of the line; it, too, is first come, first served
        self._elsewhere = ""

    @property
    def busy(self) -> bool:
        return bool(self._entries)

    @property
    def current(self) -> str:
        """What is measured now, here or by another process; empty while nothing is."""
        if self.bench_kind:
            return f"bench {self.bench_kind}"
        if self._entries and not self._elsewhere:
            return QUESTION
        return self._elsewhere or str(self.lock.holder() or "")

    @asynccontextmanager
    async def wait_turn(self, on_position: OnPosition, what: str = QUESTION) -> AsyncGenerator[None]:
        """Waits in the line and for the lock; inside, nothing else is measured.

        Raises StackError while a benchmark of the page runs.
        """
        if self.bench_kind:
            raise StackError(
                f"bench {self.bench_kind} is measuring, and a question would disturb it: wait, or cancel it"
            )
        waits = bool(self._entries)
        self._entries.append(on_position)
        self._notify()
        try:
            async with self._first:
                if waits:
                    await asyncio.sleep(YIELD_TO_COMMANDS_S)
                held = await self._wait_for_lock(what)
                try:
                    yield
                finally:
                    held.release()
        finally:
            self._entries.remove(on_position)
            self._notify()

    @asynccontextmanager
    async def reserve_for_bench(self, kind: str) -> AsyncGenerator[None]:
        """No question comes meanwhile; the benchmark's own process takes the lock.

        Raises StackError unless the line is empty: a benchmark that waited for minutes would not be visible.
        """
        if self.busy or self.bench_kind:
            other = f"bench {self.bench_kind}" if self.bench_kind else "a question"
            raise StackError(
                f"{other} is under way, and both would disturb each other's timings: start when it has ended"
            )
        self.bench_kind = kind
        try:
            yield
        finally:
            self.bench_kind = ""

    async def _wait_for_lock(self, what: str) -> HeldLock:
        try:
            while (held := self.lock.attempt(what)) is None:
                self._elsewhere = str(self.lock.holder() or UNKNOWN)
                self._notify()
                await asyncio.sleep(POLL_S)
        finally:
            self._elsewhere = ""
        return held

    def _notify(self) -> None:
        for ahead, on_position in enumerate(self._entries):
            on_position(ahead, self._elsewhere)
