"""A lock that allows one measurement at a time on a machine: on the page, or by `ask`, `chat` and `bench`.

Two measurements at once would disturb each other's timings. The lock is a file lock, which the kernel releases however
the process ends; the file names the holder. Containers share it through a common folder (MEASUREMENT_LOCK).
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
    """Who measures: `what` in a few words, `since` as Unix time in seconds, and the `pid`; 0 means unknown."""

    what: str
    since: float = 0.0
    pid: int = 0

    def __str__(self) -> str:
        since = f" (since {time.strftime('%H:%M:%S', time.localtime(self.since))})" if self.since else ""
        return f"{self.what}{since}"


UNKNOWN = LockHolder("another measurement")


class HeldLock:
    """A lock that was acquired. Without a file it does not exclude others."""

    def __init__(self, file: int | None = None) -> None:
        self._file = file

    def release(self) -> None:
        """Releases the lock; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.ftruncate(file, 0)
            os.close(file)


class MeasurementLock:
    """The lock on the file `path`; with None it is always free.

    If the file cannot be opened, the first attempt sets `trouble` to the reason, and the lock works as without a file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.trouble = path, ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> MeasurementLock:
        """Returns the lock on the file that MEASUREMENT_LOCK names, or on `run/measurement.lock` in ARENA_HOME."""
        named = environ.get("MEASUREMENT_LOCK")
        return cls(Path(named) if named else arena_home(environ) / "run" / "measurement.lock")

    def holder(self) -> LockHolder | None:
        """Returns the holder, or None if the lock is free. Tests the lock only if the file names a holder."""
        if self.path is None:
            return None
        try:
            with self.path.open("rb") as file:
                written = file.read(HOLDER_BYTES)
                if not written:
                    return None
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until the file is closed
                    return None
        except OSError:
            return None
        try:
            found = json.loads(written)
            return LockHolder(str(found["what"])[:100], float(found["since"]), int(found["pid"]))
        except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
            return UNKNOWN

    def attempt(self, what: str) -> HeldLock | None:
        """Acquires the lock without waiting; returns None if it is taken."""
        return self._lock(what, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @contextmanager
    def held(self, what: str, say: Callable[[str], object]) -> Iterator[None]:
        """Holds the lock as a context manager. If it has to wait, it reports this with `say`; Ctrl+C stops it."""
        hold = self.attempt(what)
        if hold is None:
            holder = self.holder() or UNKNOWN
            say(f"waiting until {holder} has ended: both would disturb each other's timings (Ctrl+C stops)")
            hold = self._lock(what, fcntl.LOCK_EX) or HeldLock()
        if self.trouble:
            say(f"note: {self.trouble}; a measurement at the same time would not be noticed")
        try:
            yield
        finally:
            hold.release()

    def _lock(self, what: str, operation: int) -> HeldLock | None:
        file = self._open()
        if file is None:
            return HeldLock()
        try:
            fcntl.flock(file, operation)
        except BaseException as exc:  # includes Ctrl+C
            os.close(file)
            if isinstance(exc, BlockingIOError):
                return None
            raise
        with suppress(OSError):  # for example a full disk; the lock is held anyway
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(asdict(LockHolder(what, time.time(), os.getpid()))).encode(), 0)
        return HeldLock(file)

    def _open(self) -> int | None:
        """Opens the file, writable for all users: containers and the command line may run as different users."""
        if self.path is None or self.trouble:
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            self.trouble = f"{self.path} cannot be opened to lock it ({exc.strerror})"
            return None
        with suppress(OSError):  # another user's file already has this mode
            os.fchmod(file, 0o666)
        return file
