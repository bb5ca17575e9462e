"""Uploaded and recorded files as media of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio import to_process

from engines.errors import MediaError
from engines.media import Media
from engines.media.limits import Limits
from engines.media.load import load

DECODED_WITHIN_S = 60  # one file


def looked_at(paths: Sequence[str | None], limits: Limits) -> tuple[Path, ...]:
    """The files, in the order given, without their content: the page may keep many for those who wait.

    Raises MediaError for what needs no decoding to be refused.
    """
    files = tuple(Path(path) for path in paths if path)
    limits.of_number(len(files))
    for file in files:
        try:
            limits.of_bytes(file.name, file.stat().st_size)
        except OSError as exc:
            raise MediaError(f"{file} cannot be read: {exc.strerror}") from exc
    return files


async def media_of(files: Sequence[Path], limits: Limits, within_s: float = DECODED_WITHIN_S) -> tuple[Media, ...]:
    """Checked and encoded, one after the other, each in a process that is killed after `within_s`.

    Decoding takes a core: call it where nothing is measured meanwhile. Raises MediaError that says what is wrong.
    """
    media: list[Media] = []
    for file in files:
        try:
            with anyio.fail_after(within_s):
                media.append(await to_process.run_sync(load, file, limits, cancellable=True))
        except TimeoutError as exc:
            raise MediaError(f"{file.name} takes over {within_s:g} s to check: give a smaller one") from exc
        except anyio.BrokenWorkerProcess as exc:
            raise MediaError(f"{file.name} cannot be decoded: its decoder crashed; convert it first") from exc
        limits.of_prompt(media)
    return tuple(media)
