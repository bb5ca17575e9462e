"""The KV volume: a directory that both cache servers store into.

LMCache's file names depend on the model's name and the tokens, but not on weights, revision, dtype, the sizes of chunks
and blocks or versions, and its format has no checksum. So each fingerprint has its own folder, its **namespace**, and
every file is authenticated (AES-GCM) with a key that is kept outside the volume.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cache.key import read_key, write_once
from cache.versions import Versions
from config.errors import ConfigError
from config.settings import Settings
from config.write_hints import unwritable_hint
from engines.vllm_command import served_dtype

SAMPLE_BYTES = 2**20  # at each end of a weights file
FINGERPRINT, KEY_ID = "fingerprint.json", "key-id"
SERDE = "arena_aesgcm_3"  # registered by cache/lmcache_server.py
ADAPTER = "arena_fs"  # registered by cache/lmcache_volume.py
ENTRIES = 1000  # of a namespace that are looked at: it can have millions of files, all in one folder

ScanFolder = Callable[[Path], AbstractContextManager[Iterator["os.DirEntry[str]"]]]


@dataclass(frozen=True, slots=True)
class StoredChunks:
    """What lies in a namespace, as far as it was looked at. Sizes are in bytes."""

    files: int
    total_bytes: int
    largest_bytes: int  # 0 without a file
    is_all: bool  # whether there are no further files


def fingerprint(settings: Settings, versions: Versions) -> dict[str, object]:
    """Returns everything that decides whether stored KV is valid for a set-up."""
    return {
        "model": settings.model,
        "weights": _weights(settings),
        "dtype": served_dtype(settings),
        "chunk_size": settings.chunk_size,
        "block_size": settings.block_size,
        "serde": SERDE if settings.kv_serde == "aesgcm" else settings.kv_serde,
        "connector": settings.kv_connector,
        **versions,
    }


def namespace_path(settings: Settings, versions: Versions) -> Path:
    """Returns the volume's folder for these settings and versions; it need not exist."""
    text = json.dumps(fingerprint(settings, versions), sort_keys=True)
    return settings.kv_store_dir / f"{_name(settings)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def current_namespace(settings: Settings) -> Path:
    """Returns the folder that the cache servers use, without needing vLLM or LMCache, which the page does not have.

    It is the folder with the newest fingerprint of these settings, whatever the versions: each start rewrites the
    fingerprint. Before the first start it does not exist.
    """
    wanted = fingerprint(settings, {})
    found = [path for path in settings.kv_store_dir.glob(f"{_name(settings)}-*/{FINGERPRINT}") if _has(path, wanted)]
    return max(found, key=_modified, default=settings.kv_store_dir / f"{_name(settings)}-not-made-yet" / "_").parent


def prepare_namespace(settings: Settings, versions: Versions) -> Path:
    """Creates the namespace and the key if they are missing, and returns the namespace.

    Raises ConfigError if either cannot be written, if the key would be inside the volume, or if the namespace was
    written with another key: servers with different keys would delete each other's files as damaged.
    """
    key = settings.kv_key_file
    if key.is_relative_to(settings.kv_store_dir):
        raise ConfigError(f"KV_KEY_FILE={key} is inside the KV volume, where it protects nothing: move it out")
    folder = namespace_path(settings, versions)
    check_writable(folder)
    expected = key_id(key)
    try:
        written = write_once(folder / KEY_ID, expected)
        replace_file(folder / FINGERPRINT, json.dumps(fingerprint(settings, versions), indent=1, sort_keys=True) + "\n")
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    if written != expected:
        raise ConfigError(f"{folder} was written with another key than {key}: bring that key, or delete the folder")
    return folder


def key_id(key_file: Path) -> bytes:
    """Returns what a namespace's `key-id` has for this key. Raises ConfigError as `read_key`."""
    return hashlib.sha256(read_key(key_file)).hexdigest()[:16].encode()


def check_writable(folder: Path, *, write: Callable[[Path, bytes], object] = Path.write_bytes) -> None:
    """Creates the folder if it is missing, and writes a test file. Raises ConfigError if that fails."""
    test = folder / f".write-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write(test, b"\0" * 4096)
        finally:
            test.unlink(missing_ok=True)
    except OSError as exc:
        raise _unwritable(folder, exc) from exc


def _unwritable(folder: Path, exc: OSError) -> ConfigError:
    hint = unwritable_hint(folder, exc, "KV_STORE_DIR")
    return ConfigError(f"KV_STORE_DIR: {folder} cannot be written ({exc.strerror}): {hint}")


def lmcache_storage_config(settings: Settings, side: str, folder: Path) -> Mapping[str, object]:
    """Returns LMCache's `--l2-adapter` for the cache server of one side, which stores into the namespace `folder`.

    Each side has its own folder for unfinished files: in a shared one, two writers of the same chunk would truncate
    each other's file, and the damaged file would be served.
    """
    volume: dict[str, object] = {
        "type": ADAPTER,
        "base_path": str(folder),
        "relative_tmp_dir": f".tmp-{side}",
        "num_workers": 8,
    }
    if settings.kv_serde == "none":
        return volume
    serde = {"type": SERDE, "master_key_path": str(settings.kv_key_file), "folder": str(folder), "max_workers": 4}
    return volume | {"serde": serde}


def stored_chunks(namespace: Path, *, scan: ScanFolder = os.scandir) -> StoredChunks:
    """Looks at the first ENTRIES entries of the namespace, in no order, so that the time does not grow with its files.

    LMCache writes all finished files directly into this folder. A folder that cannot be read counts as empty.
    """
    sizes, is_all = list[int](), True
    with suppress(OSError), scan(namespace) as entries:
        sizes.extend(_size(entry) for entry in islice(entries, ENTRIES) if entry.name.endswith(".data"))
        is_all = next(entries, None) is None
    found = [size for size in sizes if size]
    return StoredChunks(len(found), sum(found), max(found, default=0), is_all)


def bytes_per_token(namespace: Path, chunk_size: int) -> float | None:
    """Returns the bytes of stored KV for one token, or None if nothing is stored. A chunk has `chunk_size` tokens.

    LMCache stores whole chunks only, so any file has the size: one chunk, and the few bytes that encryption adds. The
    largest of some is taken, because a crash of the machine can leave a file that is too short.
    """
    return stored_chunks(namespace).largest_bytes / chunk_size or None


def _size(entry: os.DirEntry[str]) -> int:
    """Returns 0 for a file that no longer exists: LMCache deletes files when it needs room."""
    with suppress(FileNotFoundError):
        return entry.stat().st_size
    return 0


def _name(settings: Settings) -> str:
    """Returns the model's name in the form that begins a folder's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(settings.model).name).strip("-.").lower()


def _has(file: Path, wanted: Mapping[str, object]) -> bool:
    """Whether the file is a fingerprint with all the `wanted` entries."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {**found, **wanted} == found


def _modified(file: Path) -> float:
    """Returns 0 for a file that no longer exists."""
    with suppress(OSError):
        return file.stat().st_mtime
    return 0


def replace_file(path: Path, text: str) -> None:
    """Replaces the file atomically: a reader sees the old or the new one. Raises OSError, and leaves no draft."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        draft.write_text(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _weights(settings: Settings) -> str:
    """Identifies the weights by a digest of each file's name, size and ends, so that not all gigabytes are read.

    For a hub's model, returns the chosen revision instead, or the one in the cache, which engines load offline, or
    "hub" if none is cached yet.
    """
    model = Path(settings.model)
    if settings.revision:
        return settings.revision
    if not model.is_dir():
        main = settings.local_hf_home / "hub" / f"models--{settings.model.replace('/', '--')}" / "refs" / "main"
        return main.read_text().strip() if main.is_file() else "hub"
    digest = hashlib.sha256()
    for path in sorted(model.glob("*.safetensors")) + sorted(model.glob("config.json")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_BYTES))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]
