"""The L2 adapter `arena_fs`: LMCache's `fs_native`, which also deletes damaged files and renews the times of files that
it loads. The cache servers use it.

`fs_native` never overwrites a file, so one that cannot be loaded would cost a recompute each time it is asked for. Once
it is deleted, the engine that computes the chunk stores it again. The times tell `cache/keeper.py` which files are
used: many mounts do not keep access times (noatime, relatime).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lmcache.lmcache_fs import LMCacheFSClient
from lmcache.logging import init_logger
from lmcache.v1.distributed.api import ObjectKey
from lmcache.v1.distributed.l2_adapters.config import register_l2_adapter_type
from lmcache.v1.distributed.l2_adapters.factory import register_l2_adapter_factory
from lmcache.v1.distributed.l2_adapters.fs_l2_adapter import _object_key_to_filename
from lmcache.v1.distributed.l2_adapters.fs_native_l2_adapter import FSNativeL2AdapterConfig
from lmcache.v1.distributed.l2_adapters.native_connector_l2_adapter import NativeConnectorL2Adapter
from lmcache.v1.memory_management import MemoryObj
from prometheus_client import REGISTRY

from cache.volume import ADAPTER
from cache.volume_metrics import VolumeCollector

RENEW_S = 60.0  # a time that is younger is not renewed: on NFS, each takes a request to the server
logger = init_logger(__name__)


class VolumeConfig(FSNativeL2AdapterConfig):  # type: ignore[misc]
    """The options of `fs_native`. A class of its own, because LMCache finds an adapter's type by it."""


class VolumeAdapter(NativeConnectorL2Adapter):  # type: ignore[misc]
    """Stores and loads with the same client as `fs_native`."""

    def __init__(self, config: VolumeConfig, _l1: object = None) -> None:
        direct, ahead = config.use_odirect, config.read_ahead_size or 0
        client = LMCacheFSClient(config.base_path, config.num_workers, config.relative_tmp_dir, direct, ahead)
        super().__init__(
            client,
            max_capacity_gb=config.max_capacity_gb,
            type_name=type(self).__name__,
            pad_buffers_to_alignment=direct,
        )
        self._folder = Path(config.base_path)
        self._renewals = ThreadPoolExecutor(1)  # a load does not wait for it
        volume = VolumeCollector(self._folder.parent)
        volume.start()
        REGISTRY.register(volume)

    def submit_load_task(self, keys: Sequence[ObjectKey], objects: Sequence[MemoryObj]) -> int:
        """First deletes the files that have not the size of their buffers, as a machine that stopped may leave them;
        LMCache then takes them as a miss. The times of the others are renewed afterwards."""
        now, files = time.time(), [file_of(self._folder, key) for key in keys]
        old = [file for file, buffer in zip(files, objects, strict=True) if is_old(file, buffer.get_size(), now)]
        task = int(super().submit_load_task(keys, objects))
        self._renewals.submit(renew, old)
        return task


def file_of(folder: Path, key: ObjectKey) -> Path:
    """Returns a chunk's file; `fs_native` gives it the same name."""
    return folder / str(_object_key_to_filename(key))


def is_old(file: Path, size: int, now: float) -> bool:
    """Whether the modification time of a file has to be renewed. Deletes a file that has not `size` bytes."""
    with suppress(OSError):  # LMCache's own attempt to read it says why
        found = file.stat()
        if found.st_size == size:
            return now - found.st_mtime > RENEW_S
        delete_damaged(file, f"has {found.st_size:,} bytes instead of {size:,}")
    return False


def renew(files: Sequence[Path]) -> None:
    """Sets the modification times to now. The first file gets the newest: the others are useless without it."""
    for file in reversed(files):
        with suppress(OSError):
            os.utime(file)


def delete_damaged(file: Path, why: str) -> None:
    """Deletes a file, which another server may have done meanwhile. If it cannot be deleted, the log says so."""
    try:
        file.unlink(missing_ok=True)
        logger.warning("Deleted %s, which %s", file, why)
    except OSError as exc:
        logger.error("Cannot delete %s, which %s: %s", file, why, exc)


register_l2_adapter_type(ADAPTER, VolumeConfig)
register_l2_adapter_factory(ADAPTER, VolumeAdapter)
