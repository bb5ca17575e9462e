"""The commands that supervisord runs: `exec NAME` runs a service, `listen` kills a dead service's orphans.

If vLLM's API server is killed with SIGKILL, its engine core and worker keep running, with 3 GiB and some shared memory.
All services share supervisord's session, and each leads its own process group, so the members of a group without a
leader are orphans. Python's resource trackers are not killed: they remove the shared memory, then end by themselves.
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

SERVICES = "ARENA_SERVICES"  # variable in supervisord's environment with the path of write_services' file
TRACKER = "multiprocessing.resource_tracker"


def write_services(file: Path, services: Mapping[str, tuple[Sequence[str], Mapping[str, str]]]) -> None:
    """Writes each service's command and complete environment, by name, to a file that only its owner can read.

    supervisord's configuration cannot quote every value, and its services also inherit supervisord's environment.
    """
    file.touch(mode=0o600)
    file.write_text(json.dumps({name: [list(argv), dict(env)] for name, (argv, env) in services.items()}, indent=1))


def exec_service(name: str) -> NoReturn:
    """Replaces this process (exec) with the service, using the command and environment that were written for it."""
    argv, env = json.loads(Path(os.environ[SERVICES]).read_text())[name]
    os.execve(argv[0], argv, env)  # noqa: S606


def listen() -> NoReturn:
    """Kills orphans at each of supervisord's events, then answers OK. supervisord ends this process when it ends."""
    while True:
        headers, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        if killed := kill_orphans(os.getsid(0)):
            sys.stderr.write(f"{headers['eventname']} {payload}: killed {[each.pid for each in killed]}\n")
            sys.stderr.flush()
        childutils.listener.ok(sys.stdout)


def kill_orphans(session: int) -> list[psutil.Process]:
    """Kills the session's members whose process group has lost its leader, and returns them."""
    return _kill_members(session, lambda process: not is_alive(os.getpgid(process.pid)))


def end_session(session: int, folder: Path) -> None:
    """Kills the remaining members, with working directory `folder`, of a session whose leader is dead.

    The kernel does not reuse a pid while a session with that id has members. So a living process with the leader's pid
    belongs to another program, such as a shell, and this session has no members.
    """
    if not is_alive(session):
        psutil.wait_procs(_kill_members(session, lambda process: Path(process.cwd()) == folder), timeout=10)


def is_alive(pid: int) -> bool:
    """Whether a process lives. Zombies and dying processes, which have no memory any more, count as dead.

    An empty command line would not do as the sign: a process also has none for a moment while it calls exec.
    """
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.memory_info().vms > 0
    except psutil.NoSuchProcess:
        return False


def _kill_members(session: int, chosen: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Kills and returns the `chosen` members of the session, except its leader and resource trackers."""
    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):  # a process may end at any moment
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
