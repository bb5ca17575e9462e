"""The key that authenticates the files of the KV volume. It is generated once, in a file outside the volume."""

from __future__ import annotations

import os
import secrets
import stat
import time
from pathlib import Path

from config.errors import ConfigError

KEY_BYTES = 32  # minimum; LMCache derives its keys from the whole file
WAIT_S = 2.0  # for another process that has created the file but not yet written it


def read_key(path: Path, *, wait_s: float = WAIT_S) -> bytes:
    """Returns the key in the file, and creates the file if it is missing.

    Raises ConfigError if the file cannot be read or created, or is shorter than KEY_BYTES.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = write_once(path, secrets.token_bytes(KEY_BYTES), wait_s=wait_s)
    except OSError as exc:
        failed = "read" if path.exists() else "made"
        raise ConfigError(f"KV_KEY_FILE={path} cannot be {failed} ({exc.strerror}): name another place") from exc
    if len(key) < KEY_BYTES:
        raise ConfigError(
            f"KV_KEY_FILE={path} holds {len(key)} bytes and a key has {KEY_BYTES} or more: bring the whole key, or "
            "delete the file to have one made"
        )
    return key


def is_readable_by_others(path: Path) -> bool:
    """Whether the file's mode lets its group or others read it. Raises OSError."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def write_once(path: Path, content: bytes, *, wait_s: float = WAIT_S) -> bytes:
    """Writes the file, readable by its owner alone, unless it exists; returns its content.

    If two processes try, the first wins (O_EXCL). A hard link would make the whole file visible at once, but CIFS and
    exFAT have none, so this waits up to `wait_s` seconds while an existing file is shorter than `content`. Raises
    OSError, and leaves no partly written file.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_whole(path, len(content), wait_s)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return content


def _read_whole(path: Path, size: int, wait_s: float) -> bytes:
    deadline = time.monotonic() + wait_s
    while len(content := path.read_bytes()) < size and time.monotonic() < deadline:
        time.sleep(0.02)
    return content
