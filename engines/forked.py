"""`python -m engines.forked SOCKET COMMAND...` runs the command in a fork of the preloader, as if it had called exec.

This process stays, because supervisord watches its own children: it forwards signals to the fork, and ends with the
fork's exit code. If there is no preloader, it calls exec. It imports little, and works without site-packages.
"""

import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

REQUEST_BYTES = 2**17  # limit of a command with its environment
PID = b"pid "
READY = b"ready"  # the answer to a fork's pid: signals reach it from now on
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(path: str, argv: list[str]) -> NoReturn:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as preloader:
        fork = ask(preloader, path, argv)
        if fork is not None:
            sys.exit(follow(preloader, fork))
    os.execvp(argv[0], argv)  # noqa: S606


def ask(preloader: socket.socket, path: str, argv: list[str]) -> int | None:
    """Returns a descriptor (pidfd) of the new fork, which waits for READY; None if there is no preloader."""
    request = {"argv": argv, "env": dict(os.environ), "cwd": os.getcwd(), "group": os.getpgrp()}
    try:
        preloader.connect(path)
        socket.send_fds(preloader, [json.dumps(request).encode()], [0, 1, 2])
        answer = preloader.recv(REQUEST_BYTES)  # the exit code, if the fork has ended before it could tell its pid
        return os.pidfd_open(int(answer.removeprefix(PID))) if answer.startswith(PID) else None
    except OSError:
        return None


def follow(preloader: socket.socket, fork: int) -> int:
    """Lets the fork begin and waits for its end; returns its exit code, or 1 if the preloader has ended before it."""

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fork, number)

    for each in SIGNALS:
        signal.signal(each, forward)
    preloader.send(READY)
    select.select([fork], [], [])
    code = int(preloader.recv(REQUEST_BYTES) or 1)
    if code < 0:  # the fork was killed by this signal
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
