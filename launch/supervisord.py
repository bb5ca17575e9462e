"""The seam to supervisord, which starts, restarts and stops the services. Nothing else knows that it is there."""

from __future__ import annotations

import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from supervisor.xmlrpc import SupervisorTransport

from config.errors import StackError
from config.paths import ROOT
from config.run_state import read_pid, supervisord_pid
from launch import orphans, service_exec
from launch.supervisord_config import GRACE_S, GROUP, SupervisedProgram, render_config

DEATH_S = 30  # that a killed process may take on a machine without a free core
SOCKET_PATH_LIMIT = 100  # a Unix socket's path holds 108 bytes, supervisord adds its pid


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What supervisord knows of one service; `state` in its words, `pid` 0 when there is none."""

    name: str
    state: str
    pid: int
    said: str

    @property
    def given_up(self) -> bool:
        return self.state == "FATAL"


class Supervisor:
    """One supervisord, whose files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder.parent / "logs"
        self._socket = folder / "supervisor.sock"
        self._pidfile = folder / "supervisord.pid"
        self._config = folder / "supervisord.conf"
        self._services = folder / "services.json"

    def start(self, programs: Sequence[SupervisedProgram], env: Mapping[str, str]) -> None:
        """Starts supervisord with no service running yet. What a killed one left behind is ended first.

        `env` is the whole environment of supervisord, and with `Program.env` of each service.
        """
        if len(str(self._socket)) > SOCKET_PATH_LIMIT:
            raise StackError(f"{self._socket} is too long a path for a socket: set ARENA_HOME to a shorter folder")
        self.sweep()
        for folder in (self.folder, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.before"))
        service_exec.write_services(self._services, {each.name: (each.argv, {**env, **each.env}) for each in programs})
        self._config.write_text(render_config(programs, self._socket, self._pidfile, self.logs))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        own = {**env, service_exec.SERVICES: str(self._services)}
        result = subprocess.run(command, env=own, cwd=ROOT, capture_output=True, text=True)
        if result.returncode:
            raise StackError(f"supervisord did not start: {result.stderr.strip() or result.stdout.strip()}")
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer: see {self.logs / 'supervisor.log'}")
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Whether it lives, be it that it is just stopping; a stale pid file, or a pid used again, does not count."""
        return bool(supervisord_pid(self.folder.parent))

    def was_stopped(self) -> bool:
        """Whether it ended in order, and took its pid file with it."""
        return not self._pidfile.exists() or self.is_running()

    def processes(self) -> dict[str, ProcessState]:
        """By service's name; empty when supervisord does not answer."""
        try:
            rows = self._rpc().supervisor.getAllProcessInfo()
        except (OSError, xmlrpc.client.Error):
            return {}
        assert isinstance(rows, list)
        return {
            row["name"]: ProcessState(row["name"], row["statename"], row["pid"], row["description"])
            for row in rows
            if row["group"] == GROUP
        }

    def run(self, name: str) -> None:
        """Starts one service without waiting for it. Raises StackError when supervisord is gone or going."""
        try:
            self._rpc().supervisor.startProcess(f"{GROUP}:{name}", False)
        except (OSError, xmlrpc.client.Error) as exc:
            raise StackError(f"{name} was not started: the stack is being stopped from elsewhere") from exc

    def restart(self, name: str) -> None:
        """Stops one service, waits for its end, and starts it again. Raises StackError when supervisord does not."""
        try:
            with suppress(xmlrpc.client.Fault):  # it may not run
                self._rpc().supervisor.stopProcess(f"{GROUP}:{name}")
            self._rpc().supervisor.startProcess(f"{GROUP}:{name}", False)
        except (OSError, xmlrpc.client.Error) as exc:
            raise StackError(f"{name} was not restarted ({exc}): ./arena status") from exc

    def stop(self) -> None:
        """Stops every service and supervisord; afterwards no process of theirs is left."""
        leader = self._leader()
        if self.is_running():
            with suppress(OSError, xmlrpc.client.Error):  # it may be stopping already
                self._rpc().supervisor.shutdown()
            with suppress(psutil.NoSuchProcess):
                _wait_or_kill(psutil.Process(leader))
        self._sweep(leader)

    def sweep(self) -> None:
        """Ends what is left of a supervisord that is gone, and removes its files."""
        self._sweep(self._leader())

    def _sweep(self, leader: int) -> None:
        if leader:
            orphans.end_session(leader, ROOT)
        for path in (self._socket, self._pidfile, self._services):
            path.unlink(missing_ok=True)

    def _leader(self) -> int:
        """The pid of supervisord, which leads the session of all services; 0 when none was started."""
        return read_pid(self._pidfile)

    def _answers(self) -> bool:
        try:
            self._rpc().supervisor.getState()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def _rpc(self) -> xmlrpc.client.ServerProxy:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport)


def _wait_or_kill(supervisord: psutil.Process) -> None:
    try:
        supervisord.wait(GRACE_S + 3)
    except psutil.TimeoutExpired:
        supervisord.kill()
        try:
            supervisord.wait(DEATH_S)
        except psutil.TimeoutExpired as exc:
            raise StackError(
                f"supervisord ({supervisord.pid}) was killed and is not gone yet: ./arena down again"
            ) from exc
