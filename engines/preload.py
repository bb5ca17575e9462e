"""`python -m engines.preload SOCKET MODULE...`: imports the modules once, and forks a process for each command it gets.

An engine is two processes, and each spends most of its start on vLLM's imports. A fork has them from the beginning and
shares their memory. engines/forked.py sends the commands. Only for CPUs: a process that uses CUDA cannot be forked.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import runpy
import selectors
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn

from engines.forked import PID, READY, REQUEST_BYTES

THREADS = Path("/proc/self/task")  # one entry for each thread of this process
SPAWNED = "--multiprocessing-fork"  # the last argument of an interpreter that multiprocessing spawns
DESCRIPTORS = 100  # that one spawned process may inherit; vLLM's engine core gets five


@dataclass(frozen=True, slots=True)
class Request:
    """A command with its environment and folder, and the process group that the fork joins: that of its sender."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    group: int


def main(path: Path, modules: Sequence[str]) -> None:
    """Serves commands until the process is ended; in each fork, runs its command and returns.

    The socket exists before the imports, so that commands wait for them. If forks would fail, the socket is closed, and
    senders run their commands themselves.
    """
    listener = listen(path)
    for name in modules:
        import_module(name)
    if len(list(THREADS.iterdir())) > 1:
        path.unlink()
        listener.close()
        say("the imports started a thread: commands run without a fork")
        while True:  # supervisord would start a process again that has ended
            signal.pause()
    gc.freeze()  # otherwise the first collection in each fork would copy all memory
    say(f"{len(sys.modules)} modules are imported")
    run(serve(listener))


def listen(path: Path) -> socket.socket:
    """Returns a socket for this user alone, after removing the path that an earlier process left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


def import_module(name: str) -> None:
    """Imports a module. One that cannot be imported is skipped; a command that needs it fails with its own error."""
    try:
        importlib.import_module(name)
    except Exception as exc:  # noqa: BLE001  # another version's module may raise anything
        say(f"{name} is not imported: {exc!r}")


def serve(listener: socket.socket) -> Request:
    """Forks for each request; returns only in a fork. Sends each fork's exit code to the sender of its command."""
    with selectors.DefaultSelector() as events:
        events.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.data:
                    events.unregister(key.fd)
                    _report_end(key.fd, *key.data)
                elif request := _accept(listener, events):
                    return request


def _accept(listener: socket.socket, events: selectors.BaseSelector) -> Request | None:
    """Forks for the next request; returns it in the fork alone."""
    sender, _ = listener.accept()
    data, descriptors, _, _ = socket.recv_fds(sender, REQUEST_BYTES, 3)
    if len(descriptors) < 3:  # the sender has ended
        sender.close()
        return None
    if pid := os.fork():
        for descriptor in descriptors:
            os.close(descriptor)
        events.register(os.pidfd_open(pid), selectors.EVENT_READ, (sender, pid))
        return None
    for key in events.get_map().values():
        if key.data:
            os.close(key.fd)
            key.data[0].close()
    listener.close()
    request = Request(**json.loads(data))
    _introduce(sender, request.group)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return request


def _introduce(sender: socket.socket, group: int) -> None:
    """Tells the sender this fork's pid and waits for its answer; ends the fork if the sender has ended."""
    try:
        os.setpgid(0, group)
        sender.send(PID + str(os.getpid()).encode())
        if sender.recv(len(READY)) == READY:
            sender.close()
            return
    except OSError:
        pass
    os._exit(1)


def _report_end(descriptor: int, sender: socket.socket, pid: int) -> None:
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with suppress(OSError), sender:  # it may have ended
        sender.send(str(os.waitstatus_to_exitcode(status)).encode())


def run(request: Request) -> None:
    """Runs the command's Python script in this process, as a new interpreter would."""
    script = shutil.which(request.argv[0], path=request.env["PATH"])
    if not script:
        raise FileNotFoundError(request.argv[0])
    sys.argv = [script, *request.argv[1:]]
    sys.path[0] = str(Path(script).parent)
    with suppress(ImportError):  # before the environment is replaced, because it looks for the original one
        import setproctitle

        setproctitle.setproctitle(shlex.join([sys.executable, *sys.argv]))
    os.chdir(request.cwd)
    _set_environment(request.env)
    reserve_spawn()
    runpy.run_path(script, run_name="__main__")


def reserve_spawn() -> None:
    """Forks the process that multiprocessing will use for its first spawn, instead of a new interpreter.

    On a CPU, vLLM spawns its engine core, which would import everything again. It cannot be forked then, because the
    API server has threads by that time. Ends by itself if nothing is spawned.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reserved = os.fork()
    if not reserved:
        ours.close()
        _become_spawned(theirs)
    theirs.close()
    ordinary = util.spawnv_passfds

    def spawn(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        if args[-1] != SPAWNED:  # such as the resource tracker
            return ordinary(path, args, passfds)
        util.spawnv_passfds = ordinary
        with ours:
            try:
                message = json.dumps([list(map(os.fsdecode, args)), list(passfds), dict(os.environ)])
                socket.send_fds(ours, [message.encode()], passfds)
            except OSError:  # the reserved process has been killed
                return ordinary(path, args, passfds)
        return reserved

    util.spawnv_passfds = spawn


def _become_spawned(parent: socket.socket) -> NoReturn:
    """Waits for the arguments, descriptors and environment of an interpreter, and does what it would do."""
    data, received, _, _ = socket.recv_fds(parent, REQUEST_BYTES, DESCRIPTORS)
    if not data:
        os._exit(0)
    parent.close()
    args, numbers, env = json.loads(data)
    _renumber(received, numbers)
    _set_environment(env)
    command = args.index("-c")
    sys.argv = ["-c", *args[command + 2 :]]
    exec(args[command + 1], {"__name__": "__main__"})  # noqa: S102  # multiprocessing's own code; calls sys.exit
    sys.exit()


def _renumber(received: Sequence[int], numbers: Sequence[int]) -> None:
    """Gives the received descriptors the numbers that they have in the parent, which pickled objects contain."""
    above = max((*received, *numbers)) + 1
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    for copy, number in zip(copies, numbers, strict=True):
        os.dup2(copy, number, inheritable=False)
        os.close(copy)


def _set_environment(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
