"""The arena's commands, for tests."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from config.paths import ROOT


def run_arena(*arguments: str, timeout: float = 600, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs `./arena` with these arguments."""
    command = [str(ROOT / "arena"), *arguments]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=timeout)


def service(name: str) -> dict[str, Any]:
    """Returns a service's entry in `status --json`."""
    services = json.loads(run_arena("status", "--json").stdout)["services"]
    return next(each for each in services if each["name"] == name)
