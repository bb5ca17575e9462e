"""The page's tests ask no engine but their own, since a stack may be running beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Settings

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines are marked `anyio`."""
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"ARENA_HOME": str(tmp_path / "home"), "ENGINE_URL": NOWHERE, "CACHE_URL": NOWHERE})
