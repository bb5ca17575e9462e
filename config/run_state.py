"""Finds out which stack runs from an ARENA_HOME, processes or containers, by the files that `up` writes to `run/`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

PID_MAX = 2**22  # the largest pid on Linux


def supervisord_pid(home: Path) -> int:
    """Returns the pid of the running stack's supervisord, or 0 if the pid file is missing or stale."""
    pid = read_pid(home / "run" / "supervisord.pid")
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")  # empty for a zombie
        if pid and os.fsencode(home / "run" / "supervisord.conf") in words:
            return pid
    return 0


def read_pid(file: Path) -> int:
    """Returns the pid in a file, or 0 if the file is missing or contains no valid pid."""
    try:
        pid = int(file.read_bytes()[:20])
    except (OSError, ValueError):
        return 0
    return pid if 0 < pid <= PID_MAX else 0


def read_string_map(file: Path) -> dict[str, str]:
    """Reads a JSON object of strings, as `up` writes it.

    Returns an empty dict if the file is not a JSON object; ignores values that are not strings.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def settings_file(home: Path) -> Path:
    """Returns the path of the file with the settings that a running stack of processes was started with."""
    return home / "run" / "settings.json"


def containers_file(home: Path) -> Path:
    """Returns the path of the list of containers that `up --docker` started; the file exists as long as they do."""
    return home / "run" / "containers.json"
