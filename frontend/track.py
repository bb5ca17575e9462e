"""The one track that races and benchmarks run on: two at a time on the same engines would measure each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from engines.errors import StackError

Told = Callable[[int], None]  # how many are before one


@dataclass(eq=False, slots=True)
class _Place:
    told: Told
    first: asyncio.Event = field(default_factory=asyncio.Event)


class Track:
    """First come, first served. Everyone in the line is told how many are before them."""

    def __init__(self) -> None:
        self._line: list[_Place] = []
        self.study = ""  # the benchmark that has the track

    @property
    def busy(self) -> bool:
        return bool(self._line)

    @asynccontextmanager
    async def turn(self, told: Told) -> AsyncGenerator[None]:
        """Waits in the line, and has the track inside. Raises StackError while a benchmark has it."""
        if self.study:
            raise StackError(f"bench {self.study} is measuring, and a question would disturb it: wait, or cancel it")
        place = _Place(told)
        self._line.append(place)
        self._tell()
        try:
            await place.first.wait()
            yield
        finally:
            self._line.remove(place)
            self._tell()

    @asynccontextmanager
    async def reserved(self, study: str) -> AsyncGenerator[None]:
        """The track for a benchmark. Raises StackError unless it is free: nobody should wait for minutes unseen."""
        if self.busy or self.study:
            who = f"bench {self.study}" if self.study else "a question"
            raise StackError(f"{who} is under way, and both would measure each other: start when it is done")
        self.study = study
        try:
            yield
        finally:
            self.study = ""

    def _tell(self) -> None:
        for before, place in enumerate(self._line):
            place.told(before)
            if not before:
                place.first.set()
