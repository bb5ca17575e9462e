"""The real stack, started once for the run and stopped at its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live.commands import run_arena

from engines.settings import ROOT, read_env
from engines.topology import Topology

Arena = Callable[..., "subprocess.CompletedProcess[str]"]
MEASURED = ROOT / "results" / "tests"
MEDIA_HOST = "localhost"  # the one that engines may fetch media from; 127.0.0.1 is another name


@pytest.fixture(scope="session")
def arena() -> Arena:
    return run_arena


@pytest.fixture(scope="session")
def results() -> Path:
    """Where a run leaves screenshots and results."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    return MEASURED


@pytest.fixture(scope="session")
def stack(arena: Arena) -> Iterator[Topology]:
    """Starts the stack, or with ARENA_TEST_STACK=keep takes and leaves the one that runs."""
    keep = os.environ.get("ARENA_TEST_STACK") == "keep"
    if not keep:
        up = arena("up", "--detach", timeout=1500, ALLOWED_MEDIA_DOMAINS=MEDIA_HOST)
        assert up.returncode == 0, up.stderr
    yield Topology.of(read_env(os.environ)[0])
    if not keep:
        down = arena("down")
        assert down.returncode == 0, down.stderr
