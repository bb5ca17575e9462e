"""The KV volume: a directory that both cache servers store into.

LMCache's file names carry the model's name and the tokens, but no weights, revision, dtype, chunk size or version, and
its format has no checksum. So each fingerprint has a folder of its own, its **namespace**, and every file is
authenticated with a key (AES-GCM) that lies outside the volume.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from engines.command import dtype
from engines.errors import ConfigError
from engines.remedy import unwritable
from engines.settings import Settings

CHUNK_SIZE = 256  # tokens in one stored file; LMCache stores whole chunks only
SAMPLE_BYTES = 2**20
VERSIONS = {"vllm": "0.32.0", "lmcache": "0.5.6"}


def fingerprint(settings: Settings) -> dict[str, object]:
    """Everything that makes stored KV valid for one set-up and wrong for another."""
    return {
        "model": settings.model,
        "weights": _weights(settings),
        "dtype": dtype(settings),
        "chunk_size": CHUNK_SIZE,
        "serde": settings.kv_serde,
        **VERSIONS,
    }


def namespace(settings: Settings) -> Path:
    """The folder of the volume for these settings; not made yet."""
    text = json.dumps(fingerprint(settings), sort_keys=True)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", Path(settings.model).name).strip("-.").lower()
    return settings.kv_store_dir / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def prepare(settings: Settings) -> Path:
    """Makes the namespace and the key where they are missing, and returns the namespace.

    Raises ConfigError when either cannot be written, when the key would lie inside the volume, or when the namespace
    was written with another key: its files could not be read, and LMCache never overwrites one.
    """
    key = settings.kv_key_file
    if key.is_relative_to(settings.kv_store_dir):
        raise ConfigError(f"KV_KEY_FILE={key} lies inside the KV volume, where it guards nothing: move it out")
    folder = namespace(settings)
    probe(folder)
    try:
        key.parent.mkdir(parents=True, exist_ok=True)
        _create(key, secrets.token_bytes(32))
        key_id = hashlib.sha256(key.read_bytes()).hexdigest()[:16]
        (folder / "fingerprint.json").write_text(json.dumps(fingerprint(settings), indent=1, sort_keys=True) + "\n")
        stamp = folder / "key-id"
        _create(stamp, key_id.encode())
        same_key = stamp.read_text() == key_id
    except OSError as exc:
        raise ConfigError(f"KV_KEY_FILE={key} cannot be made or read ({exc.strerror}): name another place") from exc
    if not same_key:
        raise ConfigError(f"{folder} was written with another key than {key}: bring that key, or delete the folder")
    return folder


def probe(folder: Path, *, write: Callable[[Path, bytes], object] = Path.write_bytes) -> None:
    """Makes the folder where it is missing and writes to it once; raises ConfigError when that fails."""
    test = folder / f".write-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write(test, b"\0" * 4096)
        finally:
            test.unlink(missing_ok=True)
    except OSError as exc:
        remedy = unwritable(folder, exc, "KV_STORE_DIR")
        raise ConfigError(f"KV_STORE_DIR: {folder} cannot be written ({exc.strerror}): {remedy}") from exc


def adapter(settings: Settings, side: str) -> Mapping[str, object]:
    """LMCache's `--l2-adapter` for the cache server of one side.

    Each side has its own folder for unfinished files: with a shared one, two writers of the same chunk truncate each
    other's file and the ruin is then served.
    """
    volume: dict[str, object] = {
        "type": "fs_native",
        "base_path": str(namespace(settings)),
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


def _create(path: Path, content: bytes) -> None:
    """A file that only its owner reads, unless it exists. It appears whole, and the first of two starts wins."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


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
