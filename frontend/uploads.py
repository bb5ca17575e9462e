"""Uploaded and recorded files as media of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio import to_process

from config.errors import MediaError
from media import Media
from media.limits import Limits
from media.load import load_media

DECODED_WITHIN_S = 60  # one file


def check_uploads(paths: Sequence[str | None], limits: Limits) -> tuple[Path, ...]:
    """The files, in the order given, without their content: the page may keep many for those who wait.

    Raises MediaError for what needs no decoding to be refused.
    """
    files = tuple(Path(path) for path in paths if path)
    limits.check_count(len(files))
    for file in files:
        try:
            limits.check_bytes(file.name, file.stat().st_size)
        except OSError as exc:
            raise MediaError(f"{file} cannot be read: {exc.strerror}") from exc
    return files


async def load_uploads(files: Sequence[Path], limits: Limits, within_s: float = DECODED_WITHIN_S) -> tuple[Media, ...]:
    """Checked and encoded, one after the other, each in a process that is killed after `within_s`.

    Decoding takes a core: call it where nothing is measured meanwhile. Raises MediaError that says what is wrong.
    """
    media: list[Media] = []
    for file in files:
        try:
            with anyio.fail_after(within_s):
                media.append(await to_process.run_sync(load_media, file, limits, cancellable=True))
        except TimeoutError as exc:
            raise MediaError(f"{file.name} takes over {within_s:g} s to check: give a smaller one") from exc
        except anyio.BrokenWorkerProcess as exc:
            raise MediaError(f"{file.name} cannot be decoded: its decoder crashed; convert it first") from exc
        limits.check_prompt(media)
    return tuple(media)
