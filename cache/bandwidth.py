"""How fast the KV volume is: what bounds a cross-read where the network or the disk is slow.

Two patterns: one large file in order (**sequential**), and files of one stored chunk moved by several workers, as
LMCache's `fs_native` does (**chunks**). Two reads of each: from the **page cache**, where files just written by the
same machine lie, and from the **device**, past this machine's page cache. A cache behind that (of a file server, a
hypervisor, the disk itself) is part of the device here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import psutil

from cache.fio import Fio
from cache.fio_files import FileLayout, Speed, SyscallTool, ToolFailed, folder_prefix, remove_leftovers
from cache.page_cache import drop_from_page_cache, resident_share
from config.errors import ConfigError

TOTAL_BYTES = 256 * 2**20  # of each pattern
CHUNK_BYTES = 5_898_240  # 256 tokens of the embedded model; rounded down to whole pages
WORKERS = 8  # as many as LMCache gets in cache/volume.py
MAX_RESIDENT = 0.02  # at most this share of pages in the page cache, and a buffered read counts as the device's
NO_DEVICE = {"tmpfs": "memory is the device", "ramfs": "memory is the device", "zfs": "its own cache cannot be passed"}

OnProgress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class AccessSpeeds:
    """One pattern of access."""

    write: Speed  # until fsync is through
    read_cached: Speed  # after another read; its `resident` says how warm it was
    read_device: Speed


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The volume's bandwidth; `dataclasses.asdict` makes it JSON."""

    folder: str
    filesystem: str
    tool: str  # fio or built-in; the cached reads are always built-in
    note: str | None  # why fio was not used though it is installed
    workers: int  # of the chunks
    chunk_bytes: int
    sequential: AccessSpeeds
    chunks: AccessSpeeds


class BandwidthTool(Protocol):
    """A way to move the files. ToolFailed: it cannot (so)."""

    @property
    def name(self) -> str: ...
    def write(self, layout: FileLayout, folder: Path) -> Speed: ...
    def read(self, layout: FileLayout, folder: Path, *, direct: bool) -> Speed: ...


def measure_bandwidth(
    folder: Path,
    *,
    total_bytes: int = TOTAL_BYTES,
    chunk_bytes: int = CHUNK_BYTES,
    progress: OnProgress = lambda _: None,
    which: Callable[[str], str | None] = shutil.which,
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Bandwidth:
    """Measures with fio where it is installed and works, else with plain system calls. Leaves no file behind.

    `progress` hears what is measured next. Raises ConfigError when the folder has too little room or cannot be used,
    StackError when fio is killed.
    """
    layouts = FileLayout.sequential(total_bytes), FileLayout.chunks(total_bytes, chunk_bytes, WORKERS)
    binary = which("fio")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        _check_room(folder, 2 * max(layout.total_bytes for layout in layouts), free(folder))
        try:
            return _with_tool(Fio(binary) if binary else SyscallTool(), folder, layouts, progress)
        except ToolFailed as exc:
            note = f"{binary} gave no result ({exc}): measured by the built-in probe"
            return replace(_with_tool(SyscallTool(), folder, layouts, progress), note=note)
    except OSError as exc:
        raise ConfigError(
            f"KV_STORE_DIR: {folder} cannot be measured ({exc.strerror or exc}): free it up, or name another"
        ) from exc


def filesystem(folder: Path, mounts: Iterable[tuple[str, str]] | None = None) -> str:
    """The type of the filesystem that holds the folder ("ext4", "nfs4"); "unknown" where no mount does.

    `mounts` are mount points and types in the order of mounting: the last of two on one point hides the other.
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


def _check_room(folder: Path, needed: int, free: int) -> None:
    """The probe never takes more than half of what is free: a full volume makes LMCache drop what it should store."""
    if free < needed:
        raise ConfigError(
            f"KV_STORE_DIR: {folder} has {free / 1e6:,.0f} MB free and the probe wants {needed / 1e6:,.0f} MB: "
            "free it up, or name another"
        )


def _with_tool(
    tool: BandwidthTool, folder: Path, layouts: tuple[FileLayout, FileLayout], progress: OnProgress
) -> Bandwidth:
    sequential, chunks = layouts
    kind = filesystem(folder)
    return Bandwidth(
        folder=str(folder),
        filesystem=kind,
        tool=tool.name,
        note=None,
        workers=chunks.workers,
        chunk_bytes=chunks.file_bytes,
        sequential=_speeds(tool, folder, sequential, kind, lambda step: progress(f"one large file: {step}")),
        chunks=_speeds(tool, folder, chunks, kind, lambda step: progress(f"files of one chunk: {step}")),
    )


def _speeds(tool: BandwidthTool, folder: Path, layout: FileLayout, kind: str, progress: OnProgress) -> AccessSpeeds:
    with TemporaryDirectory(prefix=folder_prefix(), dir=folder) as name:
        home = Path(name)
        progress("write")
        write = tool.write(layout, home)
        progress("read from the page cache")
        cached = _read_cached(layout, home)
        progress("read from the device")
        return AccessSpeeds(write, cached, _read_device(tool, layout, home, kind))


def _read_cached(layout: FileLayout, home: Path) -> Speed:
    """Reads twice and times the second: what was written past the page cache is not in it yet."""
    SyscallTool().read(layout, home, direct=False)
    resident = resident_share(layout.paths(home))
    speed = SyscallTool().read(layout, home, direct=False)
    return replace(speed, method="buffered, read before", resident=resident)


def _read_device(tool: BandwidthTool, layout: FileLayout, home: Path, kind: str) -> Speed:
    """With O_DIRECT, else buffered when the page cache has let go of the files.

    They are dropped in both cases: some filesystems take O_DIRECT and answer from the page cache all the same.
    """
    if kind in NO_DEVICE:
        return Speed.missing(f"{kind}: {NO_DEVICE[kind]}")
    drop_from_page_cache(layout.paths(home))
    resident = resident_share(layout.paths(home))
    try:
        return replace(tool.read(layout, home, direct=True), resident=resident)
    except ToolFailed as exc:
        if resident is None or resident > MAX_RESIDENT:
            return Speed.missing(f"{kind}: {exc}, and the page cache keeps the files", resident)
    speed = tool.read(layout, home, direct=False)
    return replace(speed, method=f"{speed.method}, fadvise", resident=resident)
