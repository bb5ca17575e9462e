"""What supervisord runs: `exec NAME` becomes a service, `listen` ends what a dead service left behind.

vLLM's API server, killed with SIGKILL, leaves its engine core and worker running: 3 GiB and some shared memory. All
services share supervisord's session, and each leads a process group of its own, so a group without its leader is such a
remainder. Python's resource trackers are left alone: they remove the shared memory, and then end by themselves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil
from supervisor import childutils

SERVICES = "ARENA_SERVICES"  # in supervisord's environment: the file of write_services
TRACKER = "multiprocessing.resource_tracker"


def write_services(file: Path, services: Mapping[str, tuple[Sequence[str], Mapping[str, str]]]) -> None:
    """Each service's command and whole environment, by name.

    A file, because supervisord's configuration cannot quote every value, and a service inherits from it.
    """
    file.touch(mode=0o600)
    file.write_text(json.dumps({name: [list(argv), dict(env)] for name, (argv, env) in services.items()}, indent=1))


def exec_service(name: str) -> NoReturn:
    """This process becomes the service, with the command and the environment that were written for it."""
    argv, env = json.loads(Path(os.environ[SERVICES]).read_text())[name]
    os.execve(argv[0], argv, env)  # noqa: S606


def listen() -> NoReturn:
    """Answers each event of supervisord's with OK, after cleaning up; supervisord ends this process with itself."""
    while True:
        headers, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        if killed := kill_orphans(os.getsid(0)):
            sys.stderr.write(f"{headers['eventname']} {payload}: killed {[each.pid for each in killed]}\n")
            sys.stderr.flush()
        childutils.listener.ok(sys.stdout)


def kill_orphans(session: int) -> list[psutil.Process]:
    """Kills the session's members whose group has lost its leader."""
    return _kill_members(session, lambda process: not is_alive(os.getpgid(process.pid)))


def end_session(session: int, folder: Path) -> None:
    """Kills what is left, in `folder`, of a session whose leader is gone.

    The kernel gives a pid to no other process while a session of that number has members. So where a leader lives, it
    is another program's by now, such as a shell's, and nothing of ours is left.
    """
    if not is_alive(session):
        psutil.wait_procs(_kill_members(session, lambda process: Path(process.cwd()) == folder), timeout=10)


def is_alive(pid: int) -> bool:
    """A zombie is dead, and so is what has let go of its command line on the way there."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and bool(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _kill_members(session: int, chosen: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Kills those of the session, but its leader and resource trackers, that are chosen; returns them."""
    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):  # it may end at any moment
            if process.pid == session or os.getsid(process.pid) != session or not chosen(process):
                continue
            if TRACKER not in " ".join(process.cmdline()):
                process.kill()
                killed.append(process)
    return killed


if __name__ == "__main__":
    if sys.argv[1] == "exec":
        exec_service(sys.argv[2])
    listen()
