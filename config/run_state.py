"""Which form of the stack runs from an ARENA_HOME, by the files that `up` leaves in its folder `run`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

PID_MAX = 2**22  # Linux has no larger one


def supervisord_pid(home: Path) -> int:
    """The pid of the running stack's supervisord, or 0. A stale file and a pid in use by another process count as 0."""
    pid = read_pid(home / "run" / "supervisord.pid")
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty for a zombie
        if pid and os.fsencode(home / "run" / "supervisord.conf") in words:
            return pid
    return 0


def read_pid(file: Path) -> int:
    """0 for a file that is missing, or holds no pid."""
    try:
        pid = int(file.read_bytes()[:20])
    except (OSError, ValueError):
        return 0
    return pid if 0 < pid <= PID_MAX else 0


def read_string_map(file: Path) -> dict[str, str]:
    """A JSON object of strings, as `up` writes it; empty for anything else."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def settings_file(home: Path) -> Path:
    """The settings that a running stack of processes was started with."""
    return home / "run" / "settings.json"


def containers_file(home: Path) -> Path:
    """Which containers `up --docker` started; it exists while they do."""
    return home / "run" / "containers.json"
