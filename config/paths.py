"""Where the repository is, the files that it makes, and the results of benchmarks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def results_folder() -> Path:
    """RESULTS_DIR, as a container has it, or `results` in the repository."""
    return Path(os.environ.get("RESULTS_DIR") or ROOT / "results")


def run_folder(results: Path, kind: str) -> Path:
    """The folder of a run that begins now: `ttft-20261122-230000`."""
    return results / f"{kind}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def arena_home(env: Mapping[str, str]) -> Path:
    """Where everything that the arena makes lies: environments, models, logs, the default KV volume."""
    return Path(env.get("ARENA_HOME") or ROOT / ".arena").resolve()


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())
