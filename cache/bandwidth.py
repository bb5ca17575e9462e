"""Measures the KV volume's bandwidth with fio (https://fio.readthedocs.io): it limits what loading KV can gain.

There are two patterns: one large file in order (**sequential**), and files the size of one stored chunk, moved by
several workers as in LMCache's `fs_native` (**chunks**). Each is written (fsync included), read from this machine's
**page cache**, and read from the **device**, bypassing the page cache. Any cache below that (in a file server, a
hypervisor or the disk) counts as part of the device.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import psutil

from config.child_process import die_with_parent
from config.errors import ConfigError, StackError

TOTAL_BYTES = 256 * 2**20  # moved by each pattern
WORKERS = 8  # equal to LMCache's num_workers in cache/volume.py
PAGE_BYTES = 4096  # O_DIRECT moves whole pages
BLOCK_BYTES = 4 * 2**20  # of the large file, moved in one call
BLOCKS_IN_FLIGHT = 8  # of the large file
TIMEOUT_S = 600  # for one run of fio
ENDED_BY_SIGNAL = 128  # fio's exit code after SIGINT or SIGTERM, which it handles
NOT_INSTALLED = "not measured: install fio (apt-get install fio)"
NO_DEVICE = {"tmpfs": "memory is the device", "ramfs": "memory is the device", "zfs": "its own cache cannot be passed"}
DAY_S = 86_400
# Buffers are random and scrambled from block to block, so that nothing can be compressed or deduplicated
FIO_OPTIONS = (
    "--name=probe --output-format=json --eta=never --thread=1 --group_reporting=1 --scramble_buffers=1 "
    "--file_service_type=sequential --filename_format=$jobnum.$filenum"
)

OnProgress = Callable[[str], object]
Way = Literal["read", "write"]


class FioFailed(Exception):
    """fio returned no measurement; the message is the reason."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """Files of one size, the same number for each worker, moved block by block."""

    workers: int
    files_each: int
    file_bytes: int
    block_bytes: int
    blocks_in_flight: int  # for each worker

    @classmethod
    def sequential(cls, total_bytes: int) -> FileLayout:
        """Returns the layout of one large file and one worker; the size is rounded down to whole pages."""
        size = _whole_pages(total_bytes)
        return cls(1, 1, size, min(BLOCK_BYTES, size), BLOCKS_IN_FLIGHT)

    @classmethod
    def chunks(cls, total_bytes: int, chunk_bytes: int) -> FileLayout:
        """Returns the layout of chunk-sized files, at least one for each worker, each moved in one call."""
        size = _whole_pages(chunk_bytes)
        return cls(WORKERS, max(1, total_bytes // size // WORKERS), size, size, 1)

    @property
    def total_bytes(self) -> int:
        return self.workers * self.files_each * self.file_bytes

    @property
    def io_engine(self) -> str:
        """fio's name of the I/O engine. LMCache reads as psync does, with one block in flight."""
        return "libaio" if self.blocks_in_flight > 1 else "psync"


@dataclass(frozen=True, slots=True)
class Speed:
    """One measured bandwidth, or the reason why there is none."""

    gb_per_s: float | None  # 1e9 bytes; None: see `reason`
    moved_bytes: int
    seconds: float
    method: str  # fio's I/O engine, and whether it bypassed the page cache
    resident: float | None = None  # None: fio does not report how much of a file is in the page cache
    reason: str | None = None  # why there is no number

    @classmethod
    def missing(cls, reason: str) -> Speed:
        return cls(None, 0, 0.0, "none", reason=reason)


@dataclass(frozen=True, slots=True)
class AccessSpeeds:
    """The speeds of one access pattern."""

    write: Speed  # fsync included
    read_cached: Speed  # from the page cache, filled by an earlier read
    read_device: Speed

    @classmethod
    def missing(cls, reason: str) -> AccessSpeeds:
        return cls(Speed.missing(reason), Speed.missing(reason), Speed.missing(reason))


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The volume's bandwidth; `dataclasses.asdict` makes it JSON."""

    folder: str
    filesystem: str
    tool: str
    note: str | None  # why nothing was measured
    workers: int  # of the chunks pattern
    chunk_bytes: int
    sequential: AccessSpeeds
    chunks: AccessSpeeds


async def measure_bandwidth(
    folder: Path, chunk_bytes: int, progress: OnProgress = lambda _: None, *, total_bytes: int = TOTAL_BYTES
) -> Bandwidth:
    """Measures both patterns, and calls `progress` with the name of each step. Leaves no file behind.

    If fio is not installed or fails, the missing speeds give the reason. A cancellation kills fio. Raises ConfigError
    if the folder has too little room or cannot be used, StackError if fio is killed or takes longer than TIMEOUT_S.
    """
    sequential, chunks = FileLayout.sequential(total_bytes), FileLayout.chunks(total_bytes, chunk_bytes)
    none, kind = AccessSpeeds.missing(NOT_INSTALLED), filesystem(folder)
    result = Bandwidth(str(folder), kind, "fio", NOT_INSTALLED, chunks.workers, chunks.file_bytes, none, none)
    if not shutil.which("fio"):
        return result
    try:
        _prepare(folder, max(sequential.total_bytes, chunks.total_bytes))
        return replace(
            result,
            note=None,
            sequential=await _speeds(folder, sequential, lambda step: progress(f"one large file: {step}")),
            chunks=await _speeds(folder, chunks, lambda step: progress(f"files of one chunk: {step}")),
        )
    except OSError as exc:
        raise ConfigError(
            f"KV_STORE_DIR: {folder} cannot be measured ({exc.strerror or exc}): free it up, or name another"
        ) from exc


def filesystem(folder: Path, mounts: Iterable[tuple[str, str]] | None = None) -> str:
    """Returns the type of the folder's filesystem ("ext4", "nfs4"), or "unknown" if no mount contains the folder.

    `mounts` lists mount points and types in the order of mounting: if two mounts share a mount point, the later one
    hides the earlier.
    """
    if mounts is None:
        mounts = [(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions(all=True)]
    home = folder.resolve()
    over = [
        (len(Path(point).parts), number, kind)
        for number, (point, kind) in enumerate(mounts)
        if home.is_relative_to(point)
    ]
    return max(over)[2] if over else "unknown"


def remove_leftovers(folder: Path) -> None:
    """Removes scratch folders left by measurements that were killed before they could clean up.

    That happens, for example, when the machine crashes. Another machine's folder is removed once it is a day old: its
    process cannot be checked, but no measurement takes that long.
    """
    for path in folder.glob(".probe-*"):
        host, _, pid = path.name.removeprefix(".probe-").rpartition("-")[0].rpartition("-")
        is_ours = host == socket.gethostname() and pid.isdecimal()
        with suppress(FileNotFoundError):
            if not psutil.pid_exists(int(pid)) if is_ours else time.time() - path.stat().st_mtime > DAY_S:
                shutil.rmtree(path, ignore_errors=True)


def _prepare(folder: Path, taken: int) -> None:
    """Raises ConfigError if `taken` bytes are more than half of the free space.

    On a full volume, LMCache would drop what it should store.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    free = shutil.disk_usage(folder).free
    if free < 2 * taken:
        raise ConfigError(
            f"KV_STORE_DIR: {folder} has {free / 1e6:,.0f} MB free, and the measurement needs {2 * taken / 1e6:,.0f} "
            "MB free (it writes half of that): delete files, or set KV_STORE_DIR to another folder"
        )


@asynccontextmanager
async def _scratch_folder(folder: Path) -> AsyncIterator[Path]:
    """Yields a scratch folder in `folder`.

    If SIGKILL ends this process, the stdin of a child process closes, which then removes the scratch folder.
    """
    with TemporaryDirectory(prefix=f".probe-{socket.gethostname()}-{os.getpid()}-", dir=folder) as name:
        remove = ("sh", "-c", 'read -r _; rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }', name)
        remover = await asyncio.create_subprocess_exec(*remove, stdin=PIPE, start_new_session=True)
        assert remover.stdin
        try:
            yield Path(name)
        finally:
            remover.stdin.close()
            await remover.wait()


async def _speeds(folder: Path, layout: FileLayout, progress: OnProgress) -> AccessSpeeds:
    async with _scratch_folder(folder) as home:
        try:
            progress("write")
            write = await _write(layout, home)
            progress("read from the page cache")
            await _run_fio("read", layout, home, direct=False)  # a write that bypassed the page cache did not fill it
            read_cached = await _run_fio("read", layout, home, direct=False)
        except FioFailed as exc:
            return AccessSpeeds.missing(str(exc))
        progress("read from the device")
        return AccessSpeeds(write, read_cached, await _read_device(layout, home))


async def _write(layout: FileLayout, home: Path) -> Speed:
    """Writes bypassing the page cache, or through it if the filesystem does not allow that."""
    try:
        return await _run_fio("write", layout, home, direct=True)
    except FioFailed:
        return await _run_fio("write", layout, home, direct=False)


async def _read_device(layout: FileLayout, home: Path) -> Speed:
    kind = filesystem(home)
    if kind in NO_DEVICE:
        return Speed.missing(f"{kind}: {NO_DEVICE[kind]}")
    try:
        return await _run_fio("read", layout, home, direct=True)
    except FioFailed as exc:
        return Speed.missing(f"{kind}: cannot be read past the page cache ({exc})")


async def _run_fio(way: Way, layout: FileLayout, home: Path, *, direct: bool) -> Speed:
    """Runs fio once. Ctrl+C does not reach fio directly, but cancels this task, which then kills fio."""
    try:
        fio = await asyncio.create_subprocess_exec(
            shutil.which("fio") or "fio",
            *fio_options(way, layout, direct),
            cwd=home,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    except OSError as exc:
        raise FioFailed(f"fio cannot be run: {exc.strerror}") from exc
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = (each.decode(errors="replace") for each in await fio.communicate())
    except TimeoutError as exc:
        raise StackError(f"fio takes over {TIMEOUT_S} s: the volume is too slow to measure") from exc
    finally:
        if fio.returncode is None:
            fio.kill()
            await fio.wait()
    exit_code = await fio.wait()
    if exit_code < 0 or exit_code == ENDED_BY_SIGNAL:
        raise StackError(f"fio was ended by a signal ({exit_code}): start the measurement again")
    if exit_code:
        raise FioFailed(errors.strip().partition("\n")[0][:200] or f"fio ended with exit code {exit_code}")
    moved, seconds = parse_report(output, way)
    method = f"fio {layout.io_engine}, {'O_DIRECT' if direct else 'buffered'}{' + fsync' if way == 'write' else ''}"
    return Speed(moved / seconds / 1e9, moved, seconds, method)


def fio_options(way: Way, layout: FileLayout, direct: bool) -> list[str]:
    """Returns fio's arguments.

    The runtime that fio reports includes `end_fsync` (tested with an fsync that sleeps). `invalidate` first drops the
    files from the page cache: some filesystems accept O_DIRECT but still serve reads from the page cache.
    """
    files = f"--numjobs={layout.workers} --nrfiles={layout.files_each} --filesize={layout.file_bytes}"
    access = f"--rw={way} --bs={layout.block_bytes} --ioengine={layout.io_engine} --iodepth={layout.blocks_in_flight}"
    cache = f"--direct={direct:d} --invalidate={direct:d} --end_fsync={way == 'write':d}"
    return [*FIO_OPTIONS.split(), *files.split(), *access.split(), *cache.split()]


def parse_report(output: str, way: Way) -> tuple[int, float]:
    """Returns a finished run's bytes and seconds. fio may print warnings around its JSON. Raises FioFailed."""
    try:
        content, _ = json.JSONDecoder().raw_decode(output, output.index("{"))
        job = content["jobs"][0]
        error, moved, ms = job["error"], int(job[way]["io_bytes"]), float(job[way]["runtime"])
    except (ValueError, LookupError, TypeError) as exc:
        raise FioFailed("fio's report cannot be read") from exc
    if error or moved <= 0 or ms <= 0:
        raise FioFailed(f"fio reports {moved} bytes in {ms} ms, error {error}")
    return moved, ms / 1e3


def _whole_pages(size: int) -> int:
    return max(PAGE_BYTES, size // PAGE_BYTES * PAGE_BYTES)
