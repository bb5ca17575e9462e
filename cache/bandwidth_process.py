"""The probe of the KV volume in a process of its own, because only a process can be ended at once.

A thread in `fsync`, and fio, go on for as long as the volume takes. It writes one JSON object a line: what is measured
next, and at last the bandwidth or why there is none.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psutil
from pydantic import BaseModel, TypeAdapter, ValidationError

from cache.bandwidth import Bandwidth, OnProgress, measure_bandwidth
from cache.fio_files import remove_leftovers
from config.child_process import die_with_parent
from config.errors import ArenaError, ConfigError, StackError
from config.paths import ROOT

GRACE_S = 2.0  # between SIGTERM and SIGKILL
COMMAND = (sys.executable, "-m", "cache.bandwidth_process")


class _WorkerMessage(BaseModel):
    progress: str = ""
    error: str = ""
    is_usage: bool = False  # the error is one of a setting
    bandwidth: Bandwidth | None = None


async def measure_in_process(
    folder: Path, chunk_bytes: int, progress: OnProgress, command: Sequence[str] = COMMAND
) -> Bandwidth:
    """As `cache.bandwidth.probe`; a cancellation ends it, fio included, and leaves no file behind.

    Raises StackError when the process or fio was ended by somebody else, ConfigError as `probe` does.
    """
    child = await asyncio.create_subprocess_exec(
        *command,
        str(folder),
        str(chunk_bytes),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,  # Ctrl+C reaches this process alone, which then ends that one
    )
    assert child.stdout
    try:
        async for raw in child.stdout:
            line = _WorkerMessage.model_validate_json(raw)
            if line.bandwidth:
                return line.bandwidth
            if line.error:
                raise ConfigError(line.error) if line.is_usage else StackError(line.error)
            progress(line.progress)
    except (ValidationError, ValueError) as exc:
        raise StackError("the probe of the KV volume does not say what it found") from exc
    finally:
        await _end(child)
        remove_leftovers(folder)
    raise StackError(f"the probe of the KV volume ended with exit code {child.returncode}: start it again")


async def _end(child: asyncio.subprocess.Process) -> None:
    """The whole group: fio is in it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            async with asyncio.timeout(GRACE_S):
                await child.wait()
        except ProcessLookupError:
            break
        except TimeoutError:
            continue
    await child.wait()


def _write(**line: object) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


def main() -> None:
    """The child. SIGTERM, also by the death of its parent, ends fio first, then removes the files."""
    folder, chunk_bytes = Path(sys.argv[1]), int(sys.argv[2])

    def ended(_signal: int, _frame: FrameType | None) -> None:
        for process in psutil.Process().children(recursive=True):
            process.kill()
        remove_leftovers(folder, owned=True)
        os._exit(128 + signal.SIGTERM)  # no waiting for threads that write

    signal.signal(signal.SIGTERM, ended)
    die_with_parent(signal.SIGTERM)
    try:
        found = measure_bandwidth(folder, chunk_bytes=chunk_bytes, progress=lambda step: _write(progress=step))
        _write(bandwidth=TypeAdapter(Bandwidth).dump_python(found, mode="json"))
    except ArenaError as exc:
        _write(error=str(exc), is_usage=isinstance(exc, ConfigError))


if __name__ == "__main__":
    main()
