"""Runs of the benchmark as child processes: `python -m bench`, its lines as they come, its report when it is done."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from config.errors import ConfigError, StackError
from config.paths import ROOT, nearest_existing, run_folder
from config.settings import Settings
from frontend.measurement_queue import MeasurementQueue
from frontend.results_list import ResultSummary, list_results

KINDS = ("ttft", "mm", "aa", "storage")
LINES = 200  # shown of a run
LONGEST_LINE = 2**20  # bytes
GRACE_S = 20  # from Ctrl+C to being killed


def kinds(settings: Settings, access: Callable[[Path, int], bool] = os.access) -> tuple[str, ...]:
    """Those that can run here: `storage` writes to the KV volume, which a page in a container may only read."""
    writable = access(nearest_existing(settings.kv_store_dir), os.W_OK)
    return KINDS if writable else tuple(kind for kind in KINDS if kind != "storage")


@dataclass(frozen=True, slots=True)
class BenchRun:
    """A run as far as it is; `code` is None while it runs."""

    kind: str
    folder: Path
    lines: tuple[str, ...] = ()
    code: int | None = None


class BenchRunner:
    """One run at a time for all visitors, and the results of earlier ones; whoever looks sees the same."""

    def __init__(
        self, track: MeasurementQueue, results: Path, command: Sequence[str] = (sys.executable, "-m", "bench")
    ) -> None:
        self.track, self.results, self.command = track, results, tuple(command)
        self.now: BenchRun | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._found: Sequence[ResultSummary] | None = None

    async def start(self, kind: str, num_prompts: int) -> None:
        """Returns when the run has begun. Raises StackError when something else is measured just now."""
        if kind not in KINDS or not 1 <= num_prompts <= 1000:
            raise ConfigError(
                f"no bench {kind} with {num_prompts} documents: {', '.join(KINDS)}, and 1 to 1,000 of them"
            )
        started = asyncio.Event()
        task = asyncio.create_task(self._drive(kind, num_prompts, started))
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

    async def report(self, name: str) -> str:
        """The report's HTML, made of what there is where a run was cancelled. Raises ConfigError when there is none."""
        await self._listed(name)
        page = self.results / name / "report.html"
        said = "" if page.exists() else await self._said("report", self.results / name)
        try:
            return await asyncio.to_thread(page.read_text)
        except OSError as exc:
            raise ConfigError(f"{name} has no report: {said or exc.strerror}") from exc

    async def compare(self, old: str, new: str) -> str:
        """What `bench compare` says of two results of the list."""
        await self._listed(old, new)
        if said := await self._said("compare", self.results / old, self.results / new):
            return said
        raise StackError("bench compare said nothing: ./arena bench compare OLD NEW shows why")

    async def earlier(self) -> Sequence[ResultSummary]:
        """Results, newest first; while something is measured those that were found before."""
        if self._found is None or not self.track.current:
            self._found = await asyncio.to_thread(list_results, self.results)
        return self._found

    async def _listed(self, *names: str) -> None:
        """Only what is listed is read."""
        known = {result.name for result in await self.earlier()}
        if not known.issuperset(names):
            raise ConfigError("choose results of the list")

    async def _drive(self, kind: str, num_prompts: int, started: asyncio.Event) -> None:
        async with self.track.reserve_for_bench(kind):
            folder = run_folder(self.results, kind)
            size = ("--num-prompts", str(num_prompts))
            child = self._child = await self._begin(kind, *size, "--result-dir", str(folder))
            self.now = BenchRun(kind, folder)
            started.set()
            lines = deque[str](maxlen=LINES)
            assert child.stdout
            try:
                async for line in child.stdout:
                    lines.append(line.decode(errors="replace").rstrip())
                    self.now = replace(self.now, lines=tuple(lines))
            finally:
                if not child.stdout.at_eof():  # nobody reads it any more
                    _kill(child)
                self.now = replace(self.now, code=await child.wait())

    async def _said(self, *words: str | Path) -> str:
        """All that a short command prints; it takes a core for seconds, so nothing is measured meanwhile."""
        if measured := self.track.current:
            raise StackError(f"{measured} is running, and this would disturb it: try again when it has ended")
        async with self.track.wait_turn(lambda *_: None, "a report that the page makes"):
            said, _ = await (await self._begin(*map(str, words))).communicate()
        return said.decode(errors="replace").strip()

    async def _begin(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.command,
            *words,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
        )


def _heed_ctrl_c() -> None:
    """What a script starts in the background ignores Ctrl+C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
