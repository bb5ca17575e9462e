"""Paths of the repository, of the files that the arena creates, and of benchmark results."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def results_folder() -> Path:
    """Returns RESULTS_DIR, which is set in containers, or `results` in the repository."""
    return Path(os.environ.get("RESULTS_DIR") or ROOT / "results")


def run_folder(results: Path, kind: str) -> Path:
    """Returns the folder for a run that starts now, such as `ttft-20261122-230000`, in local time."""
    return results / f"{kind}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def arena_home(env: Mapping[str, str]) -> Path:
    """Returns the folder of all files that the arena creates: environments, models, logs, the default KV volume."""
    return Path(env.get("ARENA_HOME") or ROOT / ".arena").resolve()


def nearest_existing(path: Path) -> Path:
    """Returns the path if it exists, otherwise the nearest parent folder that does."""
    return next(p for p in (path, *path.parents) if p.exists())
