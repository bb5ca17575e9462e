"""supervisord's configuration file, as text."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from dataclasses import dataclass, field
from pathlib import Path

from config.paths import ROOT

STARTING_S = 60  # a service that dies sooner is restarted with a growing delay, later at once
RETRIES = 20  # restarts in a row before it is given up
GRACE_S = 10  # from SIGTERM to SIGKILL
GROUP = "arena"  # one group, so that all services are stopped at once and not one after the other


@dataclass(frozen=True, slots=True)
class SupervisedProgram:
    """One service to keep running. `env` is added to the environment that all have."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def render_config(programs: Sequence[SupervisedProgram], socket: Path, pidfile: Path, logs: Path) -> str:
    """Nothing starts by itself: services are started in order, by name."""
    sections: dict[str, dict[str, object]] = {
        "unix_http_server": {"file": socket, "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisord": {
            "directory": ROOT,
            "logfile": logs / "supervisor.log",
            "logfile_maxbytes": "5MB",
            "logfile_backups": 1,
            "pidfile": pidfile,
            "umask": "077",
        },
        f"group:{GROUP}": {"programs": ",".join(program.name for program in programs)},
        "eventlistener:reaper": {
            "command": shlex.join([sys.executable, "-m", "launch.orphan_listener"]),
            "events": "PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF,PROCESS_STATE_FATAL",
            "stderr_logfile": logs / "reaper.log",
            "stderr_logfile_maxbytes": "1MB",
            "stderr_logfile_backups": 0,
        },
    }
    sections |= {f"program:{program.name}": _program(program, logs) for program in programs}
    return _text(sections)


def _program(program: SupervisedProgram, logs: Path) -> dict[str, object]:
    return {
        "command": shlex.join([sys.executable, "-m", "launch.service_exec", program.name]),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": STARTING_S,
        "startretries": RETRIES,
        "stopwaitsecs": GRACE_S,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 1,
    }


def _text(sections: Mapping[str, Mapping[str, object]]) -> str:
    """`%` introduces a placeholder in this format, so it is doubled."""
    parser = RawConfigParser()
    parser.read_dict(
        {name: {key: str(v).replace("%", "%%") for key, v in pairs.items()} for name, pairs in sections.items()}
    )
    file = io.StringIO()
    parser.write(file)
    return file.getvalue()
