"""The KV volume: a directory that both cache servers store into.

LMCache's file names carry the model's name and the tokens, but no weights, revision, dtype, chunk size or version, and
its format has no checksum. So each fingerprint has a folder of its own, its **namespace**, and every file is
authenticated with a key (AES-GCM) that lies outside the volume.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cache.key import read_key, write_once
from cache.versions import Versions
from config.errors import ConfigError
from config.settings import Settings
from config.write_hints import unwritable_hint
from engines.vllm_command import served_dtype

CHUNK_SIZE = 256  # tokens in one stored file; LMCache stores whole chunks only
SAMPLE_BYTES = 2**20
FINGERPRINT = "fingerprint.json"


def fingerprint(settings: Settings, versions: Versions) -> dict[str, object]:
    """Everything that makes stored KV valid for one set-up and wrong for another."""
    return {
        "model": settings.model,
        "weights": _weights(settings),
        "dtype": served_dtype(settings),
        "chunk_size": CHUNK_SIZE,
        "serde": settings.kv_serde,
        **versions,
    }


def namespace_path(settings: Settings, versions: Versions) -> Path:
    """The folder of the volume for these settings and versions; not made yet."""
    text = json.dumps(fingerprint(settings, versions), sort_keys=True)
    return settings.kv_store_dir / f"{_name(settings)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def current_namespace(settings: Settings) -> Path:
    """The folder that the cache servers use, for who only looks: a page need not have the packages that serve.

    It is the one with the newest fingerprint of these settings, in whatever versions: each start writes it anew. Before
    the first start it is one that does not exist.
    """
    wanted = fingerprint(settings, {})
    found = [path for path in settings.kv_store_dir.glob(f"{_name(settings)}-*/{FINGERPRINT}") if _is_of(path, wanted)]
    return max(found, key=_written, default=settings.kv_store_dir / f"{_name(settings)}-not-made-yet" / "_").parent


def prepare_namespace(settings: Settings, versions: Versions) -> Path:
    """Makes the namespace and the key where they are missing, and returns the namespace.

    Raises ConfigError when either cannot be written, when the key would lie inside the volume, or when the namespace
    was written with another key: its files could not be read, and LMCache never overwrites one.
    """
    key = settings.kv_key_file
    if key.is_relative_to(settings.kv_store_dir):
        raise ConfigError(f"KV_KEY_FILE={key} lies inside the KV volume, where it guards nothing: move it out")
    folder = namespace_path(settings, versions)
    check_writable(folder)
    key_id = hashlib.sha256(read_key(key)).hexdigest()[:16].encode()
    try:
        written = write_once(folder / "key-id", key_id)
        _replace(folder / FINGERPRINT, json.dumps(fingerprint(settings, versions), indent=1, sort_keys=True) + "\n")
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    if written != key_id:
        raise ConfigError(f"{folder} was written with another key than {key}: bring that key, or delete the folder")
    return folder


def check_writable(folder: Path, *, write: Callable[[Path, bytes], object] = Path.write_bytes) -> None:
    """Makes the folder where it is missing and writes to it once; raises ConfigError when that fails."""
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
    remedy = unwritable_hint(folder, exc, "KV_STORE_DIR")
    return ConfigError(f"KV_STORE_DIR: {folder} cannot be written ({exc.strerror}): {remedy}")


def lmcache_storage_config(settings: Settings, side: str, folder: Path) -> Mapping[str, object]:
    """LMCache's `--l2-adapter` for the cache server of one side, which stores into the namespace `folder`.

    Each side has its own folder for unfinished files: with a shared one, two writers of the same chunk truncate each
    other's file and the ruin is then served.
    """
    volume: dict[str, object] = {
        "type": "fs_native",
        "base_path": str(folder),
        "relative_tmp_dir": f".tmp-{side}",
        "num_workers": 8,
    }
    return volume if settings.kv_serde == "none" else volume | {"serde": _authenticated(settings.kv_key_file)}


def bytes_per_token(namespace: Path) -> float | None:
    """From the largest file of the volume: one whole chunk, with the little that encryption adds."""
    sizes = [_size(path) for path in namespace.rglob("*.data")]
    return max(sizes) / CHUNK_SIZE if any(sizes) else None


def _size(path: Path) -> int:
    """0 for a file that is no longer there: LMCache deletes what has no room."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _authenticated(key: Path) -> Mapping[str, object]:
    return {
        "type": "aesgcm",
        "key_provider": "hkdf",
        "master_key_path": str(key),
        "aes_bits": 256,
        "max_workers": 4,
    }


def _name(settings: Settings) -> str:
    """The model's, as the beginning of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(settings.model).name).strip("-.").lower()


def _is_of(file: Path, wanted: Mapping[str, object]) -> bool:
    """Whether this fingerprint has all that is `wanted`; whatever else lies there has not."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {**found, **wanted} == found


def _written(file: Path) -> float:
    """When; 0 for a file that is no longer there."""
    with suppress(OSError):
        return file.stat().st_mtime
    return 0


def _replace(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, and nothing is left when that fails. Raises OSError."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        draft.write_text(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _weights(settings: Settings) -> str:
    """Tells weights apart without reading gigabytes: names, sizes and the ends of each file.

    Of a hub's model it is the chosen revision, or the one in the cache, which engines that may not ask the hub load;
    "hub" before that.
    """
    model = Path(settings.model)
    if settings.revision:
        return settings.revision
    if not model.is_dir():
        kept = settings.local_hf_home / "hub" / f"models--{settings.model.replace('/', '--')}" / "refs" / "main"
        return kept.read_text().strip() if kept.is_file() else "hub"
    seen = hashlib.sha256()
    for path in sorted(model.glob("*.safetensors")) + sorted(model.glob("config.json")):
        size = path.stat().st_size
        seen.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            seen.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_BYTES))
            seen.update(file.read(SAMPLE_BYTES))
    return seen.hexdigest()[:16]
