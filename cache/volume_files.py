"""The files on the KV volume, in all its namespaces and whatever wrote them, and what may be deleted of them.

Reading a namespace is safe at any time, and so is deleting: LMCache looks a file up on the disk at each request, and a
file that is gone is a miss. Folders without a fingerprint are not ours, and never touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.volume import FINGERPRINT, KEY_ID

UNFINISHED_S = 3600.0  # a writer that has not finished a file after this has ended without it


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """One file of stored KV. `used_s` is when it was last stored or loaded, in seconds since 1970: its modification
    time, which `cache/lmcache_volume.py` renews at a load."""

    path: str
    size: int  # bytes
    used_s: float
    is_finished: bool  # writers rename a finished file; until then it, or its folder, has a name with a dot in front


@dataclass(frozen=True, slots=True)
class DeletedFiles:
    """How many files were deleted, their size in bytes, and why one could not be deleted (empty if all could)."""

    files: int = 0
    total_bytes: int = 0
    fault: str = ""

    def __add__(self, other: DeletedFiles) -> DeletedFiles:
        total = self.total_bytes + other.total_bytes
        return DeletedFiles(self.files + other.files, total, self.fault or other.fault)


def namespaces(volume: Path) -> tuple[Path, ...]:
    """Returns the folders with a fingerprint; none if the volume cannot be read."""
    with suppress(OSError):
        return tuple(sorted(path.parent for path in volume.glob(f"*/{FINGERPRINT}")))
    return ()


def files_of(folder: Path | str, *, finished: bool = True) -> Iterator[VolumeFile]:
    """Yields the files of a namespace. A file or folder that vanishes meanwhile, or cannot be read, is left out."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = finished and not entry.name.startswith(".")
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    yield from files_of(entry.path, finished=ours)
                elif entry.name not in (FINGERPRINT, KEY_ID) and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield VolumeFile(entry.path, found.st_size, found.st_mtime, ours)


def least_recently_used(files: Iterable[VolumeFile], size: int) -> Iterator[VolumeFile]:
    """Yields finished files, those not used for longest first, until they have at least `size` bytes."""
    for file in sorted((file for file in files if file.is_finished), key=lambda file: file.used_s):
        if size <= 0:
            return
        size -= file.size
        yield file


def abandoned(files: Iterable[VolumeFile], now: float) -> Iterator[VolumeFile]:
    """Yields the unfinished files whose writers have ended."""
    return (file for file in files if not file.is_finished and now - file.used_s > UNFINISHED_S)


def delete(files: Iterable[VolumeFile]) -> DeletedFiles:
    """Deletes files, which another process may have done meanwhile. Goes on if one cannot be deleted."""
    count, size, fault = 0, 0, ""
    for file in files:
        try:
            os.unlink(file.path)
            count, size = count + 1, size + file.size
        except FileNotFoundError:
            pass
        except OSError as exc:
            fault = f"{file.path} cannot be deleted ({exc.strerror})"
    return DeletedFiles(count, size, fault)
