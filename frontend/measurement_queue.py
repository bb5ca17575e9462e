"""The queue in which questions wait, and the lock shared with the command line: one measurement at a time.

Gradio's own queue also shows a position, but a benchmark cannot block it, and a waiting event cannot be cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from client.measurement_lock import UNKNOWN, HeldLock, MeasurementLock
from config.errors import StackError

POLL_S = 0.2  # between two attempts to get the lock from another process
YIELD_TO_COMMANDS_S = 0.05  # between two visitors, so that a command waiting for the lock goes first
QUESTION = "a question on the page"

OnPosition = Callable[[int, str], None]  # visitors ahead, and what another process is measuring


class MeasurementQueue:
    """A first-come, first-served queue. Each entry's callback is called when its position changes."""

    def __init__(self, lock: MeasurementLock | None = None) -> None:
        self.lock = lock or MeasurementLock(None)
        self.bench_kind = ""  # the page's running benchmark, whose process has the lock
        self._entries: list[OnPosition] = []
        self._first = asyncio.Lock()  # taken by the first entry; it is first come, first served, too
        self._elsewhere = ""

    @property
    def busy(self) -> bool:
        return bool(self._entries)

    @property
    def current(self) -> str:
        """The measurement in progress, here or in another process; empty if there is none."""
        if self.bench_kind:
            return f"bench {self.bench_kind}"
        if self._entries and not self._elsewhere:
            return QUESTION
        return self._elsewhere or str(self.lock.holder() or "")

    @asynccontextmanager
    async def wait_turn(self, on_position: OnPosition, what: str = QUESTION) -> AsyncGenerator[None]:
        """Waits in the queue and for the lock. Nothing else is measured inside the context.

        Raises StackError while one of the page's benchmarks is running.
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
        """Refuses questions inside the context; the benchmark's own process takes the lock.

        Raises StackError unless the queue is empty: nobody would see a benchmark that waits for minutes.
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
