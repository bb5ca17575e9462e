"""`python -m cache.verify_files VOLUME KEY_FILE [--repair]` decrypts every file on the volume. It needs LMCache.

LMCache's format has no checksum, so a namespace without a serde cannot be verified.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from lmcache.v1.distributed.l2_adapters.fs_l2_adapter import _filename_to_object_key
from lmcache.v1.distributed.serde.key_provider import HkdfKeyProvider
from rich.console import Console
from rich.progress import track

from cache.lmcache_server import HEADER_BYTES, TAG_BYTES, decrypt_frame, key_provider
from cache.volume import FINGERPRINT, KEY_ID, SERDE, key_id
from cache.volume_files import DeletedFiles, delete, files_of, namespaces
from config.errors import ConfigError
from config.printable import printable


def is_whole(path: Path, keys: HkdfKeyProvider) -> bool:
    """Whether the file is one chunk's frame, of the key that is its name. A file that is gone counts as whole."""
    key = _filename_to_object_key(path.name)
    with suppress(OSError, ValueError, InvalidTag):
        frame = memoryview(path.read_bytes())
        plaintext = memoryview(bytearray(max(0, len(frame) - HEADER_BYTES - TAG_BYTES)))
        if key is not None:
            decrypt_frame(keys, key, frame, plaintext)
            return True
    return not path.exists()


def verify_namespace(folder: Path, key_file: Path, *, repair: bool, console: Console) -> bool:
    """Names the damaged files on stdout, and deletes them with `repair`. Returns whether all that is left is whole."""
    keys, files = key_provider(key_file, folder), [file for file in files_of(folder) if file.is_finished]
    shown = track(files, description=printable(folder.name), console=console, transient=True)
    damaged = [file for file in shown if not is_whole(Path(file.path), keys)]
    for file in damaged:
        print(printable(f"{file.path}: is damaged or was not written with this key"))  # noqa: T201
    deleted = delete(folder.parent, damaged) if repair else DeletedFiles()
    console.print(
        f"{printable(folder.name)}: {len(files):,} files, {len(damaged):,} damaged, {deleted.files:,} deleted"
    )
    if deleted.fault:
        console.print(f"arena: {printable(deleted.fault)}")
    return not deleted.fault and (repair or not damaged)


def obstacle(folder: Path, key_file: Path) -> str:
    """Returns why a namespace cannot be verified; empty if it can. Raises ConfigError if the key cannot be read."""
    try:
        serde = json.loads((folder / FINGERPRINT).read_bytes())["serde"]
        if serde != SERDE:
            return "it was stored without authentication, or by another version"
        return "" if (folder / KEY_ID).read_bytes() == key_id(key_file) else "it was stored with another key"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return f"its {FINGERPRINT} or {KEY_ID} cannot be read"


def main(volume: Path, key_file: Path, *, repair: bool) -> int:
    """Verifies each namespace that was written with this key; returns the exit code."""
    console, are_whole = Console(stderr=True, highlight=False, soft_wrap=True, markup=False), True
    try:
        for folder in namespaces(volume):
            if why := obstacle(folder, key_file):
                console.print(f"{printable(folder.name)}: cannot be verified, because {why}")
            else:
                are_whole &= verify_namespace(folder, key_file, repair=repair, console=console)
    except ConfigError as exc:
        console.print(f"arena: {printable(str(exc))}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if are_whole else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), repair="--repair" in sys.argv))
