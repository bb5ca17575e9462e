"""How much of a file lies in this machine's page cache, and how to put it out of there."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path


def resident_share(paths: Iterable[Path]) -> float | None:
    """Share (0 to 1) of the files' pages that are in the page cache; None where it cannot be told.

    A file that is gone by now is left out. Of a file that is neither ours nor ours to write Linux calls every page
    resident, so one such file makes the answer None.
    """
    resident = pages = 0
    for path in paths:
        try:
            inside, whole = _pages(path)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        resident, pages = resident + inside, pages + whole
    return resident / pages if pages else None


def drop_from_page_cache(paths: Iterable[Path]) -> None:
    """Asks the kernel to forget the files' pages. It keeps those not yet written: sync before, and look after."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def _pages(path: Path) -> tuple[int, int]:
    """Resident pages and all pages of a file, by mincore. Raises OSError."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() and not os.access(path, os.W_OK, effective_ids=True):
            raise PermissionError(f"Linux does not tell us what is resident of {path}")
        if not status.st_size:
            return 0, 0
        # a private copy, because ctypes takes the address of writable memory only; nothing is written to it.
        # Not closed by hand: after Ctrl+C the trace still holds that address, and close would fail
        found = _mincore(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    return sum(page & 1 for page in found), len(found)


def _mincore(mapped: mmap.mmap) -> bytes:
    """One byte per page, its lowest bit set where the page is resident. Raises OSError."""
    found = ctypes.create_string_buffer(-(-len(mapped) // mmap.PAGESIZE))
    libc = ctypes.CDLL(None, use_errno=True)
    start = ctypes.c_char.from_buffer(mapped)
    if libc.mincore(ctypes.byref(start), ctypes.c_size_t(len(mapped)), found):
        raise OSError(ctypes.get_errno(), "mincore failed")
    return found.raw
