"""Runs of the benchmark as child processes: `python -m bench`, its lines as they come, its folder when it is done."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engines.errors import ConfigError, StackError
from engines.settings import ROOT
from frontend.track import Track

KINDS = ("ttft", "mm", "aa", "storage")
LINES = 200  # shown of a run
GRACE_S = 20  # from Ctrl+C to being killed


def results_folder() -> Path:
    """Where `./arena bench` puts its folders."""
    return Path(os.environ.get("RESULTS_DIR") or ROOT / "results")


@dataclass(frozen=True, slots=True)
class Study:
    """A run as far as it is; `code` is None while it runs."""

    kind: str
    folder: Path
    lines: tuple[str, ...] = ()
    code: int | None = None


class Studies:
    """One run at a time for all visitors; whoever looks sees the same."""

    def __init__(self, track: Track, command: Sequence[str] = (sys.executable, "-m", "bench")) -> None:
        self.track, self.command = track, tuple(command)
        self.now: Study | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, kind: str, num_prompts: int, results: Path | None = None) -> None:
        """Returns when the run has begun. Raises StackError when something else is measured just now."""
        if kind not in KINDS or not 1 <= num_prompts <= 1000:
            raise ConfigError(
                f"no bench {kind} with {num_prompts} documents: {', '.join(KINDS)}, and 1 to 1,000 of them"
            )
        folder = (results or results_folder()) / f"{kind}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        started = asyncio.Event()
        task = asyncio.create_task(self._drive(kind, num_prompts, folder, started))
        task.add_done_callback(lambda _: started.set())
        await started.wait()
        if task.done():
            task.result()
        self._task = task

    async def ended(self) -> None:
        """Returns when no run is under way."""
        if self._task:
            await asyncio.wait({self._task})

    def cancel(self) -> None:
        """As Ctrl+C does: the bench keeps what it has."""
        if (child := self._child) and child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
            asyncio.get_running_loop().call_later(GRACE_S, _kill, child)

    async def _drive(self, kind: str, num_prompts: int, folder: Path, started: asyncio.Event) -> None:
        async with self.track.reserved(kind):
            argv = [*self.command, kind, "--num-prompts", str(num_prompts), "--result-dir", str(folder)]
            self.now = Study(kind, folder)
            lines = deque[str](maxlen=LINES)
            child = self._child = await asyncio.create_subprocess_exec(
                *argv,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_heed_ctrl_c,
            )
            started.set()
            assert child.stdout
            async for line in child.stdout:
                lines.append(line.decode(errors="replace").rstrip())
                self.now = Study(kind, folder, tuple(lines))
            self.now = Study(kind, folder, tuple(lines), await child.wait())

    async def compare(self, old: str, new: str, results: Path | None = None) -> str:
        """What `bench compare` says of two results of the list."""
        home = results or results_folder()
        known = {result.name for result in earlier(home)}
        if old not in known or new not in known:
            raise ConfigError("choose two results of the list to compare")
        child = await asyncio.create_subprocess_exec(
            *self.command,
            "compare",
            str(home / old),
            str(home / new),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await child.communicate()
        if not said:
            raise StackError("bench compare said nothing: ./arena bench compare OLD NEW shows why")
        return said.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Result:
    """A folder that a run left."""

    name: str
    kind: str
    date: str
    complete: bool
    completed: int
    verdict: str


def earlier(results: Path) -> list[Result]:
    """Newest first; folders that hold no result are passed over."""
    found = [result for path in results.glob("*/result.json") if (result := _result(path))]
    return sorted(found, key=lambda result: result.date, reverse=True)


def _result(path: Path) -> Result | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        verdict = (content.get("comparison") or {}).get("verdict", "")
        return Result(
            path.parent.name,
            str(content["kind"]),
            str(content["date"]),
            bool(content.get("complete")),
            int(content.get("completed", 0)),
            str(verdict),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def report(results: Path, name: str) -> str:
    """The report's HTML; raises ConfigError when there is none."""
    if name not in {result.name for result in earlier(results)}:
        raise ConfigError("choose a result of the list")
    try:
        return (results / name / "report.html").read_text()
    except OSError as exc:
        raise ConfigError(f"{name} has no report: ./arena bench report results/{name} makes it") from exc


def _heed_ctrl_c() -> None:
    """What a script starts in the background ignores Ctrl+C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
