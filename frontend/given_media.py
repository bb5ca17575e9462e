"""Uploaded and recorded files as media of a prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from engines.media import Media
from engines.media.limits import Limits
from engines.media.load import load


async def media_of(paths: Sequence[str | None], limits: Limits) -> tuple[Media, ...]:
    """Checked and encoded before anything is timed, in the order given; no more of them than a prompt may have.

    Raises MediaError that says what is wrong.
    """
    media: list[Media] = []
    for path in filter(None, paths):
        media.append(await asyncio.to_thread(load, Path(path), limits))
        limits.of_prompt(media)
    return tuple(media)
