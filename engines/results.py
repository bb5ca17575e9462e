"""Where runs of the benchmark leave their folders: the bench writes there, the page lists them."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from engines.settings import ROOT

FEWEST = 5  # documents of which anything is claimed: the median lies beyond all of four with a chance of one in eight


def results_folder() -> Path:
    """`results` under the root, or RESULTS_DIR, as a container has it."""
    return Path(os.environ.get("RESULTS_DIR") or ROOT / "results")


def run_folder(results: Path, kind: str) -> Path:
    """`ttft-20261122-230000` in there: a run that begins now."""
    return results / f"{kind}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
