"""Uploaded and recorded files as media of a prompt. The one seam to the loader."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from engines.media import Media


async def media_of(paths: Sequence[str | None]) -> tuple[Media, ...]:
    """Checked and encoded before anything is timed, in the order given. Raises MediaError that says what is wrong."""
    return tuple([await asyncio.to_thread(_loaded, Path(path)) for path in paths if path])


def _loaded(path: Path) -> Media:
    from engines.media.limits import Limits
    from engines.media.load import load

    return load(path, Limits())
