"""The same files moved by fio: https://fio.readthedocs.io. Its numbers are ones that others know and can repeat."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from cache.fio_files import FileLayout, Speed, ToolFailed
from config.errors import StackError

TIMEOUT_S = 600
ENDED_BY_SIGNAL = 128  # fio's exit code after SIGINT or SIGTERM, which it handles

Way = Literal["read", "write"]


class Fio:
    """One run of fio for each measurement, in the folder of the files.

    That somebody ends it is no failure of the tool, which another way would mend: StackError.
    """

    name = "fio"

    def __init__(self, binary: str) -> None:
        self.binary = binary

    def write(self, layout: FileLayout, folder: Path) -> Speed:
        """Past the page cache where the filesystem allows it, fsync included. Raises ToolFailed."""
        try:
            return self._move("write", layout, folder, direct=True)
        except ToolFailed:
            return self._move("write", layout, folder, direct=False)

    def read(self, layout: FileLayout, folder: Path, *, direct: bool) -> Speed:
        """`direct` goes past the page cache. Raises ToolFailed, also where that is refused."""
        return self._move("read", layout, folder, direct=direct)

    def _move(self, way: Way, layout: FileLayout, folder: Path, *, direct: bool) -> Speed:
        """By libaio, which not every build has, else by psync, which has one block under way at a time."""
        try:
            return self._run(way, layout, folder, "libaio", direct)
        except ToolFailed:
            return self._run(way, layout, folder, "psync", direct)

    def _run(self, way: Way, layout: FileLayout, folder: Path, engine: str, direct: bool) -> Speed:
        argv = [self.binary, *fio_options(way, layout, engine, direct)]
        try:
            done = subprocess.run(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as exc:
            raise StackError(f"{self.binary} takes over {TIMEOUT_S} s: the volume is too slow to measure") from exc
        except OSError as exc:
            raise ToolFailed(f"{self.binary} cannot be run: {exc}") from exc
        if done.returncode < 0 or done.returncode == ENDED_BY_SIGNAL:
            raise StackError(f"{self.binary} was ended by a signal ({done.returncode}): start it again")
        if done.returncode:
            raise ToolFailed(_first_line(done.stderr) or f"{self.binary} ended with {done.returncode}")
        moved, seconds = parse_report(done.stdout, way)
        method = f"fio {engine}, {'O_DIRECT' if direct else 'buffered'}{' + fsync' if way == 'write' else ''}"
        return Speed.of(moved, seconds, method)


def fio_options(way: Way, layout: FileLayout, engine: str, direct: bool) -> list[str]:
    """fio's command line. Its buffers are random and scrambled from block to block: nothing to compress or dedupe.

    `end_fsync` is inside the runtime that fio reports (tried with an fsync that sleeps).
    """
    return [
        "--name=probe",
        "--output-format=json",
        "--eta=never",
        "--thread=1",
        "--group_reporting=1",
        "--filename_format=$jobnum.$filenum",
        f"--numjobs={layout.workers}",
        f"--nrfiles={layout.files_each}",
        f"--filesize={layout.file_bytes}",
        f"--bs={layout.block_bytes}",
        "--file_service_type=sequential",
        f"--rw={way}",
        f"--ioengine={engine}",
        f"--iodepth={layout.in_flight}",
        f"--direct={int(direct)}",
        f"--end_fsync={int(way == 'write')}",
        "--scramble_buffers=1",
    ]


class _FioDirection(BaseModel):
    io_bytes: int = 0
    runtime: float = 0  # milliseconds


class _FioJob(BaseModel):
    error: int = 0
    read: _FioDirection = _FioDirection()
    write: _FioDirection = _FioDirection()


class _FioReport(BaseModel):
    jobs: list[_FioJob] = Field(min_length=1)


def parse_report(output: str, way: Way) -> tuple[int, float]:
    """Bytes and seconds of a finished run; fio may put warnings before and after its JSON. Raises ToolFailed."""
    try:
        content, _ = json.JSONDecoder().raw_decode(output, output.index("{"))
        job = _FioReport.model_validate(content).jobs[0]
    except (ValueError, ValidationError) as exc:
        raise ToolFailed("fio's report cannot be read") from exc
    side = job.read if way == "read" else job.write
    if job.error or side.io_bytes <= 0 or side.runtime <= 0:
        raise ToolFailed(f"fio reports {side.io_bytes} bytes in {side.runtime} ms, error {job.error}")
    return side.io_bytes, side.runtime / 1e3


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]
