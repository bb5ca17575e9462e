"""Keeps the KV volume within its limits: KV_MAX_GB, and some space that stays free for others on the same disk.

LMCache's own limit counts only what one server has stored since its start. This looks at the files themselves, so it
holds over restarts and with any number of writers. It runs beside the stack; several on one volume do no harm.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cache.volume import replace_file
from cache.volume_files import DeletedFiles, VolumeFile, abandoned, delete, files_of, namespaces
from client.volume_use import GIB, REPORT, FreeSpace, VolumeUse

DEFAULT_SHARE = 0.5  # KV_MAX_GB's default, of what is free and what is stored
MIN_FREE_SHARE, MIN_FREE_BYTES = 0.05, GIB  # the smaller one stays free: a share of the disk, or so many bytes
MARGIN = 0.05  # of the limit, also deleted once it is exceeded, so that not every store exceeds it again
MIN_PAUSE_S, MAX_PAUSE_S = 5.0, 240.0  # between two looks at all files
PAUSE_FACTOR = 20  # how many times as long as the look before it a pause is


@dataclass(frozen=True, slots=True)
class VolumeLimits:
    """In bytes: what all namespaces may hold, and what has to stay free on their disk."""

    max_bytes: int
    min_free_bytes: int


class Keeper:
    """Looks after one volume. KV_MAX_GB=0 takes a share of the space that is there when it starts.

    Raises OSError if the volume cannot be read.
    """

    def __init__(self, volume: Path, max_gb: float, *, free_space: FreeSpace = shutil.disk_usage) -> None:
        self._volume, self._free_space = volume, free_space
        disk = free_space(volume)
        share = (disk.free + sum(file.size for file in self._files())) * DEFAULT_SHARE
        self.limits = VolumeLimits(int(max_gb * GIB or share), min(int(disk.total * MIN_FREE_SHARE), MIN_FREE_BYTES))

    def keep(self) -> DeletedFiles:
        """Looks at all files once: deletes what has to go, and reports what is left. Returns what it deleted.

        Raises OSError if the report cannot be written.
        """
        deleted, files, total_bytes = self._trim()
        self._report(files, total_bytes)
        return deleted

    def trim(self) -> DeletedFiles:
        """Does the same without a report."""
        return self._trim()[0]

    def _trim(self) -> tuple[DeletedFiles, int, int]:
        """Returns what was deleted, and the number and the size in bytes of the files that are left."""
        files = list(self._files())
        unused = delete(self._volume, abandoned(files, time.time()))
        finished = sorted((file for file in files if file.is_finished), key=lambda file: file.used_s)
        total = sum(file.size for file in finished)
        old = delete(self._volume, finished, self._excess(total))
        return unused + old, len(finished) - old.files, total - old.total_bytes

    def _excess(self, total: int) -> int:
        """Returns how many bytes have to go; 0 if the limits hold."""
        over = max(total - self.limits.max_bytes, self.limits.min_free_bytes - self._free_space(self._volume).free)
        return over + int(self.limits.max_bytes * MARGIN) if over > 0 else 0

    def _files(self) -> Iterator[VolumeFile]:
        for folder in namespaces(self._volume):
            yield from files_of(folder)

    def _report(self, files: int, total_bytes: int) -> None:
        use = VolumeUse(
            files=files,
            total_bytes=total_bytes,
            max_bytes=self.limits.max_bytes,
            min_free_bytes=self.limits.min_free_bytes,
            checked_s=time.time(),
        )
        replace_file(self._volume / REPORT, use.model_dump_json(exclude={"free_bytes"}))


def keep_for_ever(keeper: Keeper, say: Callable[[str], None], wait: Callable[[float], object] = time.sleep) -> None:
    """Keeps the limits until the process is ended. What goes wrong is said once, and tried again."""
    said = ""
    while True:
        began = time.monotonic()
        try:
            deleted = keeper.keep()
        except OSError as exc:
            deleted = DeletedFiles(fault=f"the volume cannot be written ({exc.strerror})")
        if deleted.files:
            say(f"deleted {deleted.files:,} files of {deleted.total_bytes / GIB:.2f} GiB, those not used for longest")
        if deleted.fault and deleted.fault != said:
            say(deleted.fault)
        said = deleted.fault
        wait(min(max(MIN_PAUSE_S, PAUSE_FACTOR * (time.monotonic() - began)), MAX_PAUSE_S))
