"""The arena's commands, for tests."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from typing import Any

import psutil

from cache.wait_for_store import chunks_to_store, count_stored, wait_until_stored
from client.ask import ask_whole
from client.prompt import Prompt
from client.reply import Reply
from config.paths import ROOT
from config.topology import Engine


def run_arena(*arguments: str, timeout: float = 600, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs `./arena` with these arguments."""
    command = [str(ROOT / "arena"), *arguments]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=timeout)


def service(name: str) -> dict[str, Any]:
    """Returns a service's entry in `status --json`."""
    services = json.loads(run_arena("status", "--json").stdout)["services"]
    return next(each for each in services if each["name"] == name)


async def ask_and_store(engine: Engine, prompt: Prompt) -> Reply:
    """Asks an lmcache engine, and returns when what it computed is on the volume."""
    assert engine.cache
    before = await count_stored(engine.cache)
    reply = await ask_whole(engine, prompt)
    await wait_until_stored(engine.cache, before, chunks_to_store(reply), within=15)
    return reply


def session_of(process: psutil.Process) -> int:
    """Returns the id of a process's session, 0 if it has ended."""
    with suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return 0


def stack_processes() -> list[psutil.Process]:
    """Returns all processes of the stack: supervisord's session. A forked engine is not a child of its service."""
    session = os.getsid(service("cache-a")["pid"])
    return [process for process in psutil.process_iter() if session_of(process) == session]


def server(name: str) -> psutil.Process:
    """Returns the process of a service that listens for its requests."""
    port = int(service(name)["url"].rpartition(":")[2])
    return next(
        process
        for process in stack_processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    )
