"""Turns uploaded and recorded files into the media of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio import to_process

from config.errors import MediaError
from media import Media
from media.limits import Limits
from media.load import load_media

DECODE_TIMEOUT_S = 60  # for one file


def check_uploads(paths: Sequence[str | None], limits: Limits) -> tuple[Path, ...]:
    """Returns the files' paths in the given order; reading them now would use memory while a question waits.

    Raises MediaError for files that can be refused without decoding.
    """
    files = tuple(Path(path) for path in paths if path)
    limits.check_count(len(files))
    for file in files:
        try:
            limits.check_bytes(file.name, file.stat().st_size)
        except OSError as exc:
            raise MediaError(f"{file} cannot be read: {exc.strerror}") from exc
    return files


async def load_uploads(files: Sequence[Path], limits: Limits, timeout_s: float = DECODE_TIMEOUT_S) -> tuple[Media, ...]:
    """Checks and encodes the files one after the other, each in a process that is killed after `timeout_s` seconds.

    Decoding uses a core: call it only when nothing is being measured. Raises MediaError.
    """
    media: list[Media] = []
    for file in files:
        try:
            with anyio.fail_after(timeout_s):
                media.append(await to_process.run_sync(load_media, file, limits, cancellable=True))
        except TimeoutError as exc:
            raise MediaError(f"{file.name} takes over {timeout_s:g} s to check: give a smaller one") from exc
        except anyio.BrokenWorkerProcess as exc:
            raise MediaError(f"{file.name} cannot be decoded: its decoder crashed; convert it first") from exc
        limits.check_prompt(media)
    return tuple(media)
