"""The files a probe of the volume moves, and the built-in way to write and read them."""

from __future__ import annotations

import mmap
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

ALIGNMENT = 4096  # bytes; what O_DIRECT wants of offsets, sizes and memory
BLOCK_BYTES = 4 * 2**20  # moved in one call when one large file is written or read
IN_FLIGHT = 8  # blocks of that file which fio has under way at once; the built-in way has one


PREFIX = ".probe-"
DAY_S = 86_400


def folder_prefix() -> str:
    """How the folder of a probe's files begins: with the machine and the process whose files they are."""
    return f"{PREFIX}{socket.gethostname()}-{os.getpid()}-"


def remove_leftovers(folder: Path, *, owned: bool = False) -> None:
    """Removes what probes left behind that were killed; with `owned` those of this process too."""
    for path in folder.glob(f"{PREFIX}*"):
        if (owned and path.name.startswith(folder_prefix())) or _is_left(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_left(path: Path) -> bool:
    """Its process is gone. Of another machine's nothing is known, but no probe takes a day."""
    host, _, pid = path.name.removeprefix(PREFIX).rpartition("-")[0].rpartition("-")
    if host == socket.gethostname() and pid.isdecimal():
        return not psutil.pid_exists(int(pid))
    try:
        return time.time() - path.stat().st_mtime > DAY_S
    except OSError:
        return False


class ToolFailed(Exception):
    """A way to measure gave no number; the message is the reason. Another way is then tried."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """Files of one size, equally many for each worker, moved block by block."""

    workers: int
    files_each: int
    file_bytes: int
    block_bytes: int
    in_flight: int  # blocks of one worker under way at once

    @classmethod
    def sequential(cls, total_bytes: int) -> FileLayout:
        """One large file and one worker."""
        size = _aligned(total_bytes)
        return cls(1, 1, size, min(BLOCK_BYTES, size), IN_FLIGHT)

    @classmethod
    def chunks(cls, total_bytes: int, chunk_bytes: int, workers: int) -> FileLayout:
        """Many files of one stored chunk, at least one for each worker, each moved in one call."""
        size = _aligned(chunk_bytes)
        return cls(workers, max(1, total_bytes // size // workers), size, size, 1)

    @property
    def total_bytes(self) -> int:
        return self.workers * self.files_each * self.file_bytes

    def shares(self, folder: Path) -> list[list[Path]]:
        """The files of each worker, named as fio's `$jobnum.$filenum`."""
        return [[folder / f"{worker}.{n}" for n in range(self.files_each)] for worker in range(self.workers)]

    def paths(self, folder: Path) -> list[Path]:
        return [path for share in self.shares(folder) for path in share]


@dataclass(frozen=True, slots=True)
class Speed:
    """One measured bandwidth, or why there is none."""

    gb_per_s: float | None  # 1e9 bytes; None: see `reason`
    moved_bytes: int
    seconds: float
    method: str  # the way it was got: tool, O_DIRECT or buffered, …
    resident: float | None = None  # share of the files' pages in the page cache just before a read; None: not known
    reason: str | None = None  # why there is no number

    @classmethod
    def of(cls, moved_bytes: int, seconds: float, method: str) -> Speed:
        return cls(moved_bytes / seconds / 1e9, moved_bytes, seconds, method)

    @classmethod
    def missing(cls, reason: str, resident: float | None = None) -> Speed:
        return cls(None, 0, 0.0, "none", resident, reason)


class SyscallTool:
    """Plain system calls from threads. Writing ends with fsync, which is inside the time."""

    name = "built-in"

    def write(self, layout: FileLayout, folder: Path) -> Speed:
        """Raises OSError."""
        shares = layout.shares(folder)
        # each block begins one byte later in the same random bytes: nothing to compress, no two pages alike
        pool = memoryview(secrets.token_bytes(layout.block_bytes + ALIGNMENT))
        blocks_each = -(-layout.file_bytes // layout.block_bytes)

        def work(worker: int) -> None:
            for number, path in enumerate(shares[worker]):
                first = (worker * layout.files_each + number) * blocks_each
                _write(path, layout, pool, first)

        return Speed.of(layout.total_bytes, _timed(work, range(layout.workers)), "buffered + fsync")

    def read(self, layout: FileLayout, folder: Path, *, direct: bool) -> Speed:
        """`direct` goes past the page cache. Raises ToolFailed where that is refused, and OSError."""
        shares = layout.shares(folder)
        buffers = [mmap.mmap(-1, layout.block_bytes) for _ in shares]  # aligned, as O_DIRECT wants it

        def work(worker: int) -> None:
            for path in shares[worker]:
                _read(path, buffers[worker], direct)

        try:
            return Speed.of(
                layout.total_bytes, _timed(work, range(layout.workers)), "O_DIRECT" if direct else "buffered"
            )
        except OSError as exc:
            if direct:
                raise ToolFailed(f"O_DIRECT is refused ({exc.strerror})") from exc
            raise


def _timed(work: Callable[[int], None], workers: Sequence[int]) -> float:
    """Seconds until all workers are through; what one raises, this raises."""
    with ThreadPoolExecutor(len(workers)) as pool:
        start = time.perf_counter()
        list(pool.map(work, workers))
        return time.perf_counter() - start


def _write(path: Path, layout: FileLayout, pool: memoryview, first: int) -> None:
    with path.open("wb") as file:
        for number, start in enumerate(range(0, layout.file_bytes, layout.block_bytes), first):
            size = min(layout.block_bytes, layout.file_bytes - start)
            offset = number % ALIGNMENT
            file.write(pool[offset : offset + size])
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, buffer: mmap.mmap, direct: bool) -> None:
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    try:
        while os.readv(fd, [buffer]):
            pass
    finally:
        os.close(fd)


def _aligned(size: int) -> int:
    return max(ALIGNMENT, size // ALIGNMENT * ALIGNMENT)
