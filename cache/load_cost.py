"""Times reading and decrypting on their own, because a cache server reports them only together.

Nothing here is part of a measured request. Files are read as LMCache's fs_native adapter does (whole files, several
threads), and decrypted in place as by the cache servers' serde (`cache/lmcache_server.py`): all files of a request one
after another in one thread.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cache.bandwidth import WORKERS

KEY_BITS, NONCE_BYTES = 256, 12
PROBE_EVERY = 2**20  # bytes of a file between two probes of the page cache
BUFFER_BYTES = 2**27  # of frames in turn, so that none is still in the CPU's cache when its turn comes again


@dataclass(frozen=True, slots=True)
class LoadCost:
    """What it took to read and to decrypt the files of one request, in seconds; `decryption` is 0 without a serde."""

    loaded_bytes: int
    read: float
    decryption: float


def kv_files(namespace: Path) -> frozenset[Path]:
    """Returns the files with stored KV; an empty set if the folder does not exist or cannot be listed."""
    with suppress(OSError):
        return frozenset(namespace.rglob("*.data"))
    return frozenset()


def in_page_cache(files: Iterable[Path]) -> bool:
    """Returns whether all files are in the page cache; False also if that cannot be known, as on NFS.

    A read that must not wait (RWF_NOWAIT) fails instead of reading from the device, so nothing changes by asking.
    """
    found = [_is_cached(path) for path in files]
    return bool(found) and all(found)


def time_load(files: Iterable[Path], *, encrypted: bool) -> LoadCost | None:
    """Reads the files once and decrypts as many bytes; None if there are no files, or one cannot be read."""
    try:
        sizes = {path: path.stat().st_size for path in files}
        if not sizes or not all(sizes.values()):
            return None
        read = read_seconds(sizes)
    except OSError:
        return None
    decryption = decryption_seconds(list(sizes.values())) if encrypted else 0.0
    return LoadCost(sum(sizes.values()), read, decryption)


def read_seconds(sizes: dict[Path, int]) -> float:
    """Seconds to read the files into memory that is in use already. Raises OSError."""
    shares = [list(sizes)[worker::WORKERS] for worker in range(WORKERS)]
    buffers = [bytearray(b"\1") * max(sizes.values()) for _ in shares]
    with ThreadPoolExecutor(WORKERS) as pool:
        began = time.perf_counter()
        list(pool.map(_read, shares, buffers))
        return time.perf_counter() - began


def decryption_seconds(sizes: Sequence[int], buffer_bytes: int = BUFFER_BYTES) -> float:
    """Seconds to decrypt frames of these sizes. The key is a random one: the time does not depend on it."""
    cipher = AESGCM(AESGCM.generate_key(KEY_BITS))
    largest = max(sizes)
    turns = range(max(1, min(len(sizes), buffer_bytes // largest)))
    nonce = os.urandom(NONCE_BYTES)
    frames = [memoryview(cipher.encrypt(nonce, os.urandom(largest), None)) for _ in turns]
    outputs = [bytearray(b"\1") * largest for _ in turns]
    pairs = itertools.cycle(zip(frames, outputs, strict=True))
    began = time.perf_counter()
    for _, (frame, output) in zip(sizes, pairs, strict=False):
        cipher.decrypt_into(nonce, frame, None, output)
    return time.perf_counter() - began


def _is_cached(path: Path) -> bool:
    probe = [bytearray(1)]
    with suppress(OSError), path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return all(os.preadv(file.fileno(), probe, at, os.RWF_NOWAIT) == 1 for at in range(0, size, PROBE_EVERY))
    return False


def _read(files: Sequence[Path], buffer: bytearray) -> None:
    for path in files:
        with path.open("rb", buffering=0) as file:
            file.readinto(buffer)
