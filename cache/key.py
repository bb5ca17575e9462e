"""The key that authenticates what lies on the KV volume: a file that is made once and lies outside the volume."""

from __future__ import annotations

import os
import secrets
import stat
import time
from pathlib import Path

from config.errors import ConfigError

KEY_BYTES = 32  # at least; LMCache derives its keys from the whole file
PATIENCE_S = 2.0  # for another process that has made a file and not written it yet


def read_key(path: Path, *, patience_s: float = PATIENCE_S) -> bytes:
    """The key in the file, which is made where it is missing. Raises ConfigError that says why there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = write_once(path, secrets.token_bytes(KEY_BYTES), patience_s=patience_s)
    except OSError as exc:
        failed = "read" if path.exists() else "made"
        raise ConfigError(f"KV_KEY_FILE={path} cannot be {failed} ({exc.strerror}): name another place") from exc
    if len(key) < KEY_BYTES:
        raise ConfigError(
            f"KV_KEY_FILE={path} holds {len(key)} bytes and a key has {KEY_BYTES} or more: bring the whole key, or "
            "delete the file to have one made"
        )
    return key


def check_not_exposed(path: Path) -> bool:
    """Whether others than its owner may read the file, as far as its mode says."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def write_once(path: Path, content: bytes, *, patience_s: float = PATIENCE_S) -> bytes:
    """Writes the file, for its owner alone, unless it is there already; returns what it holds.

    The first of two starts wins, by O_EXCL: a hard link, which would show the file whole at once, is not to be had on
    CIFS or exFAT. So a file that is shorter than `content` is waited for. Raises OSError, and then leaves no file.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _whole(path, len(content), patience_s)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return content


def _whole(path: Path, size: int, patience_s: float) -> bytes:
    deadline = time.monotonic() + patience_s
    while len(content := path.read_bytes()) < size and time.monotonic() < deadline:
        time.sleep(0.02)
    return content
