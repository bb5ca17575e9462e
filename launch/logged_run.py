"""Runs a command as one step of a longer program: its output goes to a file, and Ctrl+C ends it in order."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from config.printable import printable
from launch.stack import say

NOT_STARTED, INTERRUPTED = 127, 130  # exit codes, as a shell gives them

RunStep = Callable[[Sequence[str], Path, Mapping[str, str], bool], int]  # command, log, variables, shown


def tell(text: str) -> None:
    """Prints to stderr, and goes on if the terminal was closed."""
    with suppress(OSError):
        say(printable(text))


def run_logged(
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str],
    shown: bool,
    *,
    cwd: Path,
    secrets: Collection[bytes] = (),
) -> int:
    """Runs the command and returns its exit code: NOT_STARTED if there is no such program, INTERRUPTED after Ctrl+C.

    stdout and stderr are appended to a `.log` and shown, both without `secrets`. Any other file is replaced, and a
    `.json` gets stdout alone. `env` is added to this process's environment. After Ctrl+C the command is waited for: it
    may have something to keep. A full disk does not stop it, because it may be the one that cleans up.
    """
    mode = "ab" if log.suffix == ".log" else "wb"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open(mode, buffering=0)
    except OSError:
        file = open(os.devnull, "wb", buffering=0)  # noqa: SIM115  # closed below
    with file:

        def keep(line: bytes) -> None:
            for secret in secrets:
                line = line.replace(secret, b"***")
            with suppress(OSError):
                file.write(line)
            if shown:
                tell(line.decode(errors="replace").rstrip())

        try:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if log.suffix == ".json" else subprocess.STDOUT,
                process_group=0,  # a terminal's Ctrl+C reaches this process alone, which passes it on once
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # nohup and & may ignore it
            )
        except OSError as exc:
            keep(f"{command[0]} cannot be run: {exc.strerror}\n".encode())
            return NOT_STARTED
        with child:
            assert child.stdout
            try:
                for line in child.stdout:
                    keep(line)
                return child.wait()
            except KeyboardInterrupt:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGINT)
                for line in child.stdout:
                    keep(line)
                return INTERRUPTED
