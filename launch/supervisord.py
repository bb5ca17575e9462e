"""Runs supervisord, which starts, restarts and stops the services. Only this module sends it commands."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from supervisor.xmlrpc import SupervisorTransport

from config.errors import StackError
from config.paths import ROOT
from config.run_state import read_pid, supervisord_pid
from launch import supervised

STARTING_S = 60  # a service that dies sooner is restarted with a growing delay, later at once
RETRIES = 20  # restarts in a row before supervisord gives up
GRACE_S = 10  # from SIGTERM to SIGKILL
DEATH_S = 30  # for a killed process to end, on a machine without a free core
ANSWER_S = 10  # for supervisord to answer after its start
GROUP = "arena"  # one group, so that all services are stopped at the same time
SOCKET_PATH_LIMIT = 100  # a Unix socket's path has at most 108 bytes, and supervisord appends its pid


@dataclass(frozen=True, slots=True)
class SupervisedProgram:
    """One service to keep running. `env` is added to the environment of all services."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """A service as reported by supervisord. `state` is supervisord's own word; `pid` is 0 if there is none."""

    name: str
    state: str
    pid: int
    description: str

    @property
    def given_up(self) -> bool:
        return self.state == "FATAL"


class Supervisor:
    """One supervisord, with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder.parent / "logs"
        self._socket = folder / "supervisor.sock"
        self._pidfile = folder / "supervisord.pid"
        self._config = folder / "supervisord.conf"
        self._services = folder / "services.json"

    def start(self, programs: Sequence[SupervisedProgram], env: Mapping[str, str]) -> None:
        """Starts supervisord, but no service yet. First ends the remaining processes of a killed supervisord.

        `env` is the complete environment of supervisord; each service also gets its `SupervisedProgram.env`. Raises
        StackError if supervisord does not start.
        """
        if len(str(self._socket)) > SOCKET_PATH_LIMIT:
            raise StackError(f"{self._socket} is too long a path for a socket: set ARENA_HOME to a shorter folder")
        self.sweep()
        for folder in (self.folder, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.before"))
        supervised.write_services(self._services, {each.name: (each.argv, {**env, **each.env}) for each in programs})
        self._config.write_text(render_config(programs, self._socket, self._pidfile, self.logs))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        own = {**env, supervised.SERVICES: str(self._services)}
        result = subprocess.run(command, env=own, cwd=ROOT, capture_output=True, text=True)
        if result.returncode:
            raise StackError(f"supervisord did not start: {result.stderr.strip() or result.stdout.strip()}")
        deadline = time.monotonic() + ANSWER_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer: see {self.logs / 'supervisor.log'}")
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Whether supervisord is alive, even if it is stopping. A stale pid file or a reused pid does not count."""
        return bool(supervisord_pid(self.folder.parent))

    def was_stopped(self) -> bool:
        """Whether a supervisord that no longer answers was stopped: it removed its pid file, or is still stopping."""
        return not self._pidfile.exists() or self.is_running()

    def processes(self) -> dict[str, ProcessState]:
        """Returns the state of each service by name; empty if supervisord does not answer."""
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
        """Starts one service without waiting for it. Raises StackError if supervisord has ended or is stopping."""
        try:
            self._rpc().supervisor.startProcess(f"{GROUP}:{name}", False)
        except (OSError, xmlrpc.client.Error) as exc:
            raise StackError(f"{name} was not started: the stack is being stopped by another command") from exc

    def restart(self, name: str) -> None:
        """Stops one service, waits for its end, and starts it again. Raises StackError if supervisord fails to."""
        try:
            with suppress(xmlrpc.client.Fault):  # it may already be stopped
                self._rpc().supervisor.stopProcess(f"{GROUP}:{name}")
            self._rpc().supervisor.startProcess(f"{GROUP}:{name}", False)
        except (OSError, xmlrpc.client.Error) as exc:
            raise StackError(f"{name} was not restarted ({exc}): ./arena status") from exc

    def stop(self) -> None:
        """Stops every service and supervisord, so that none of their processes remains. Raises StackError."""
        leader = read_pid(self._pidfile)
        if self.is_running():
            with suppress(OSError, xmlrpc.client.Error):  # it may be stopping already
                self._rpc().supervisor.shutdown()
            with suppress(psutil.NoSuchProcess):
                _wait_or_kill(psutil.Process(leader))
        self._sweep(leader)

    def sweep(self) -> None:
        """Ends the remaining processes of a dead supervisord, and removes its files."""
        self._sweep(read_pid(self._pidfile))

    def _sweep(self, leader: int) -> None:
        """`leader` is the pid of supervisord, the session leader of all services; 0 if none was started."""
        if leader:
            supervised.end_session(leader, ROOT)
        for path in (self._socket, self._pidfile, self._services):
            path.unlink(missing_ok=True)

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


def render_config(programs: Sequence[SupervisedProgram], socket: Path, pidfile: Path, logs: Path) -> str:
    """Returns supervisord's configuration. No service starts automatically; each is started by name, in order."""
    factory = "supervisor.rpcinterface:make_main_rpcinterface"
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": socket, "chmod": "0700"},
        "rpcinterface:supervisor": {"supervisor.rpcinterface_factory": factory},
        "supervisord": {"directory": ROOT, "pidfile": pidfile, "umask": "077"} | _log(logs, "supervisor", "log", 5, 1),
        f"group:{GROUP}": {"programs": ",".join(program.name for program in programs)},
        "eventlistener:reaper": {
            "command": shlex.join([sys.executable, "-m", "launch.supervised", "listen"]),
            "events": "PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF,PROCESS_STATE_FATAL",
        }
        | _log(logs, "reaper", "stderr_log", 1, 0),
    }
    for program in programs:
        sections[f"program:{program.name}"] = {
            "command": shlex.join([sys.executable, "-m", "launch.supervised", "exec", program.name]),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": STARTING_S,
            "startretries": RETRIES,
            "stopwaitsecs": GRACE_S,
            "killasgroup": "true",
            "redirect_stderr": "true",
        } | _log(logs, program.name, "stdout_log", 10, 1)
    return _text(sections)


def _log(logs: Path, name: str, option: str, megabytes: int, backups: int) -> dict[str, object]:
    """Returns the options of a rotated log."""
    file = f"{option}file"
    return {file: logs / f"{name}.log", f"{file}_maxbytes": f"{megabytes}MB", f"{file}_backups": backups}


def _text(sections: Mapping[str, Mapping[str, object]]) -> str:
    """Renders the configuration file. `%` is doubled, because it introduces a placeholder in this format."""
    parser = RawConfigParser()
    parser.read_dict(
        {name: {key: str(v).replace("%", "%%") for key, v in pairs.items()} for name, pairs in sections.items()}
    )
    file = io.StringIO()
    parser.write(file)
    return file.getvalue()
