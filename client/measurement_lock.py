"""One lock for all that measures on a machine: the page's questions, and `ask`, `chat` and `bench` of the command line.

Two measurements at once would measure each other. It is a file lock, which the kernel frees with its process, however
that ends; the file says who holds it. Containers share the file by a folder that they share (MEASUREMENT_LOCK).
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from config.paths import arena_home

HOLDER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who measures: `what` in a few words, `since` in Unix time, and the process; the last two are 0 if not known."""

    what: str
    since: float = 0.0
    pid: int = 0

    def __str__(self) -> str:
        since = f" (since {time.strftime('%H:%M:%S', time.localtime(self.since))})" if self.since else ""
        return f"{self.what}{since}"


UNKNOWN = LockHolder("another measurement")


class HeldLock:
    """A lock that is held until it is released; without a file it keeps nobody out."""

    def __init__(self, file: int | None = None) -> None:
        self._file = file

    def release(self) -> None:
        """A second time does nothing."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.ftruncate(file, 0)
            os.close(file)


class MeasurementLock:
    """The lock in the file `path`; with None it is always free.

    Where the file cannot be had, `trouble` says why after the first attempt, and the lock is as one without a file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.trouble = path, ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> MeasurementLock:
        """In the folder of what runs from ARENA_HOME, or the file that MEASUREMENT_LOCK names."""
        named = environ.get("MEASUREMENT_LOCK")
        return cls(Path(named) if named else arena_home(environ) / "run" / "measurement.lock")

    def holder(self) -> LockHolder | None:
        """Whoever holds it; None while it is free. The lock itself is tried only if the file names somebody."""
        if self.path is None:
            return None
        try:
            with self.path.open("rb") as file:
                said = file.read(HOLDER_BYTES)
                if not said or _locked(file.fileno(), fcntl.LOCK_SH):  # the lock goes with the file
                    return None
        except OSError:
            return None
        return _holder(said)

    def attempt(self, what: str) -> HeldLock | None:
        """The lock if it is free; None if somebody holds it."""
        file = self._opened()
        if file is None:
            return HeldLock()
        if not _locked(file, fcntl.LOCK_EX):
            os.close(file)
            return None
        return _signed(file, what)

    @contextmanager
    def held(self, what: str, say: Callable[[str], object]) -> Iterator[None]:
        """Inside, the lock is held. Waits for it, and says so first; Ctrl+C ends the waiting."""
        hold = self.attempt(what) or self._awaited(what, say)
        if self.trouble:
            say(f"note: {self.trouble}; a measurement beside this one would not be noticed")
        try:
            yield
        finally:
            hold.release()

    def _awaited(self, what: str, say: Callable[[str], object]) -> HeldLock:
        say(f"waiting until {self.holder() or UNKNOWN} has ended, for both would measure each other (Ctrl+C: stop)")
        file = self._opened()
        if file is None:
            return HeldLock()
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except BaseException:
            os.close(file)
            raise
        return _signed(file, what)

    def _opened(self) -> int | None:
        """For all users to write, since containers and their callers may be different ones."""
        if self.path is None or self.trouble:
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            self.trouble = f"{self.path} cannot be opened to lock it ({exc.strerror})"
            return None
        with suppress(OSError):  # another user's already has the mode that it needs
            os.fchmod(file, 0o666)
        return file


def _locked(file: int, how: int) -> bool:
    """Whether it could be locked at once."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signed(file: int, what: str) -> HeldLock:
    with suppress(OSError):  # of a full disk: the lock is held all the same
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(asdict(LockHolder(what, time.time(), os.getpid()))).encode(), 0)
    return HeldLock(file)


def _holder(said: bytes) -> LockHolder:
    """Of whatever stands in the file."""
    try:
        found = json.loads(said)
        return LockHolder(str(found["what"])[:100], float(found["since"]), int(found["pid"]))
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
        return UNKNOWN
