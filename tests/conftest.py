"""Fixtures for all tests: settings and a topology that affect nothing outside the test's folder."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis  # noqa: F401  # its plugin would import it at the end, where CPython 3.11 cannot parse it (gh-106905)
import pytest
from fakes import CHUNK_SIZE

from config.settings import Settings
from config.topology import Topology

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background jobs ignore it, and their children inherit that


@pytest.fixture(autouse=True)
def lock_of_its_own(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test its own lock, so that tests and measurements do not wait for each other; live tests use the
    real stack's lock."""
    if request.node.get_closest_marker("live") is None:
        monkeypatch.setenv("MEASUREMENT_LOCK", str(tmp_path / "measurement.lock"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"ARENA_HOME": str(tmp_path / "home"), "CHUNK_SIZE": str(CHUNK_SIZE)})


@pytest.fixture
def topology(settings: Settings) -> Topology:
    return Topology.of(settings)
