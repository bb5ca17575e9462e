"""The files on the KV volume, in all its namespaces and whatever wrote them, and how they are deleted.

Deleting is safe at any time: LMCache looks a file up on the disk at each request, and a file that is gone is a miss.
Only folders with a fingerprint and a key-id are ours. Whoever can write to the volume can put links there, so none is
followed: neither when files are listed nor when they are deleted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.volume import FINGERPRINT, KEY_ID

UNFINISHED_S = 3600.0  # a writer that has not finished a file after this has ended without it
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """One file of stored KV. `used_s` is when it was last stored or loaded, in seconds since 1970: its modification
    time, which `cache/lmcache_volume.py` renews at a load."""

    path: str
    size: int  # bytes
    used_s: float
    is_finished: bool  # LMCache writes it in a folder with a dot in front of its name, and moves it when it is finished


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
    """Returns the folders with a fingerprint and a key-id; none if the volume cannot be read."""
    with suppress(OSError):
        found = (path.parent for path in volume.glob(f"*/{FINGERPRINT}"))
        return tuple(sorted(each for each in found if (each / KEY_ID).exists() and not each.is_symlink()))
    return ()


def files_of(folder: Path | str, *, finished: bool = True) -> Iterator[VolumeFile]:
    """Yields the files of a namespace. A file or folder that vanishes meanwhile, or cannot be read, is left out."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            is_finished = finished and not entry.name.startswith(".")
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    yield from files_of(entry.path, finished=is_finished)
                elif entry.name not in (FINGERPRINT, KEY_ID) and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield VolumeFile(entry.path, found.st_size, found.st_mtime, is_finished)


def abandoned(files: Iterable[VolumeFile], now: float) -> Iterator[VolumeFile]:
    """Yields the unfinished files whose writers have ended."""
    return (file for file in files if not file.is_finished and now - file.used_s > UNFINISHED_S)


def delete(volume: Path, files: Iterable[VolumeFile], enough: float = math.inf) -> DeletedFiles:
    """Deletes files of the volume, one after the other, until they had `enough` bytes.

    Another process may delete the same ones. Goes on if one cannot be deleted.
    """
    count, size, fault = 0, 0, ""
    for file in files:
        if size >= enough:
            break
        try:
            _unlink(volume, Path(file.path).relative_to(volume).parts)
            count, size = count + 1, size + file.size
        except FileNotFoundError:
            pass
        except OSError as exc:
            fault = f"{file.path} cannot be deleted ({exc.strerror})"
    return DeletedFiles(count, size, fault)


def _unlink(volume: Path, parts: tuple[str, ...]) -> None:
    """Opens folder after folder, because each of them could have been replaced by a link since it was listed."""
    folder = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        os.unlink(parts[-1], dir_fd=folder)
    finally:
        os.close(folder)
