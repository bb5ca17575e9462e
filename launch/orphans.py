"""Processes that a dead service left behind.

vLLM's API server, killed with SIGKILL, leaves its engine core and worker running: 3 GiB and some shared memory. All
services share supervisord's session, and each leads a process group of its own, so a group without its leader is such a
remainder. Python's resource trackers are left alone: they remove the shared memory, and then end by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

TRACKER = "multiprocessing.resource_tracker"


def session_members(session: int) -> Iterator[psutil.Process]:
    """Processes of the session, but its leader."""
    for process in psutil.process_iter():
        try:
            if process.pid != session and os.getsid(process.pid) == session:
                yield process
        except (ProcessLookupError, PermissionError):
            continue


def kill_orphans(session: int) -> list[int]:
    """Kills the members whose group has lost its leader, and returns their pids."""
    gone = [process for process in session_members(session) if _leaderless(process)]
    for process in gone:
        _kill(process)
    return [process.pid for process in gone]


def end_session(session: int, folder: Path) -> None:
    """Kills what is left, in `folder`, of a session whose leader is gone.

    The kernel gives a pid to no other process while a session of that number has members. So where a leader lives, the
    number is somebody else's by now, a shell's perhaps, and nothing of ours is left.
    """
    if is_alive(session):
        return
    ours = [process for process in session_members(session) if _works_in(process, folder) and not _is_tracker(process)]
    for process in ours:
        _kill(process)
    psutil.wait_procs(ours, timeout=10)


def is_alive(pid: int) -> bool:
    """A zombie is dead, and so is what has let go of its command line on the way there."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and bool(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _leaderless(process: psutil.Process) -> bool:
    try:
        leader = os.getpgid(process.pid)
        return not is_alive(leader) and not _is_tracker(process)
    except (ProcessLookupError, psutil.Error):
        return False


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return TRACKER in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
