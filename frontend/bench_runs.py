"""Runs `python -m bench` as a child process: its lines are shown as they come, its report when it has ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from config.errors import ConfigError, StackError
from config.paths import ROOT, nearest_existing, run_folder
from config.settings import Settings
from frontend.measurement_queue import MeasurementQueue
from frontend.results_list import ResultSummary, list_results

KINDS = ("ttft", "mm", "aa", "storage")
MAX_DOCUMENTS = 1000
MAX_LINES = 200  # kept from a run's output
MAX_LINE_BYTES = 2**20
GRACE_S = 20  # from Ctrl+C to SIGKILL


def kinds(settings: Settings, access: Callable[[Path, int], bool] = os.access) -> tuple[str, ...]:
    """Returns the kinds that can run here: `storage` writes to the KV volume, read-only for a page in a container."""
    writable = access(nearest_existing(settings.kv_store_dir), os.W_OK)
    return KINDS if writable else tuple(kind for kind in KINDS if kind != "storage")


@dataclass(frozen=True, slots=True)
class BenchRun:
    """A run and its output so far; `code` is its exit code, or None while it runs."""

    kind: str
    folder: Path
    lines: tuple[str, ...] = ()
    code: int | None = None


class BenchRunner:
    """Runs one benchmark at a time, visible to all visitors, and lists the results of earlier runs."""

    def __init__(
        self, queue: MeasurementQueue, results: Path, command: Sequence[str] = (sys.executable, "-m", "bench")
    ) -> None:
        self.queue, self.results, self.command = queue, results, tuple(command)
        self.now: BenchRun | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._found: Sequence[ResultSummary] | None = None

    async def start(self, kind: str, num_prompts: int) -> None:
        """Returns once the run has started. Raises ConfigError for an unknown kind or a number out of bounds, and
        StackError while another measurement is running."""
        if kind not in KINDS or not 1 <= num_prompts <= MAX_DOCUMENTS:
            raise ConfigError(
                f"there is no bench {kind} of {num_prompts} documents: choose one of {', '.join(KINDS)}, "
                f"and 1 to {MAX_DOCUMENTS:,} documents"
            )
        async with AsyncExitStack() as reservation:
            await reservation.enter_async_context(self.queue.reserve_for_bench(kind))
            folder = run_folder(self.results, kind)
            self._child = await self._spawn(kind, "--num-prompts", str(num_prompts), "--result-dir", str(folder))
            self.now = BenchRun(kind, folder)
            self._reading = asyncio.create_task(self._read(self._child, self.now, reservation.pop_all()))

    async def ended(self) -> None:
        """Returns when no run is in progress."""
        if self._reading:
            await asyncio.wait({self._reading})

    def cancel(self) -> None:
        """Sends SIGINT, like Ctrl+C, so that the bench keeps what it has measured; SIGKILL follows after GRACE_S."""
        if (child := self._child) and child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
            asyncio.get_running_loop().call_later(GRACE_S, _kill, child)

    async def report(self, name: str) -> str:
        """Returns the report's HTML. If a cancelled run left none, makes it now; raises ConfigError if that fails."""
        await self._check_listed(name)
        page = self.results / name / "report.html"
        output = "" if page.exists() else await self._output("report", self.results / name)
        try:
            return await asyncio.to_thread(page.read_text)
        except OSError as exc:
            raise ConfigError(f"{name} has no report: {output or exc.strerror}") from exc

    async def compare(self, old: str, new: str) -> str:
        """Returns what `bench compare` prints for two listed results. Raises ConfigError or StackError."""
        await self._check_listed(old, new)
        if output := await self._output("compare", self.results / old, self.results / new):
            return output
        raise StackError("bench compare printed nothing: ./arena bench compare OLD NEW shows why")

    async def earlier(self) -> Sequence[ResultSummary]:
        """Returns the results, newest first. During a measurement the folder is not read again."""
        if self._found is None or not self.queue.current:
            self._found = await asyncio.to_thread(list_results, self.results)
        return self._found

    async def _check_listed(self, *names: str) -> None:
        """Raises ConfigError for a name not in the list, so that no other folder is read."""
        if not {result.name for result in await self.earlier()}.issuperset(names):
            raise ConfigError("choose results of the list")

    async def _read(self, child: asyncio.subprocess.Process, run: BenchRun, reservation: AsyncExitStack) -> None:
        """Keeps the newest lines until the child ends, then releases the reservation."""
        lines = deque[str](maxlen=MAX_LINES)
        assert child.stdout
        async with reservation:
            try:
                async for line in child.stdout:
                    lines.append(line.decode(errors="replace").rstrip())
                    self.now = replace(run, lines=tuple(lines))
            finally:
                if not child.stdout.at_eof():  # a child whose output nobody reads would block for ever
                    _kill(child)
                self.now = replace(run, lines=tuple(lines), code=await child.wait())

    async def _output(self, *words: str | Path) -> str:
        """Returns the output of a short command. It uses a core for seconds, so it never runs during a measurement."""
        if measured := self.queue.current:
            raise StackError(f"{measured} is running, and this would disturb it: try again when it has ended")
        async with self.queue.wait_turn(lambda *_: None, "a report that the page makes"):
            output, _ = await (await self._spawn(*map(str, words))).communicate()
        return output.decode(errors="replace").strip()

    async def _spawn(self, *words: str) -> asyncio.subprocess.Process:
        """Starts the bench in its own process group, so that SIGINT reaches all of its children."""
        return await asyncio.create_subprocess_exec(
            *self.command,
            *words,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
            preexec_fn=_accept_ctrl_c,
        )


def _accept_ctrl_c() -> None:
    """Restores SIGINT: a page that a script started in the background ignores it, and its children would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
