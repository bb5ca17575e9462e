"""What a stopped stack must not leave on the machine; what others had there before the tests is theirs."""

from __future__ import annotations

from pathlib import Path

import psutil

SERVERS = ("vllm serve", "VLLM::", "lmcache server")
SHARED_MEMORY = ("lmcache", "psm_", "sem.mp")


def servers_and_memory() -> set[str]:
    """Processes of vLLM and LMCache, and shared memory of theirs."""
    processes = {f"{p.pid} {' '.join(p.info['cmdline'] or ())}" for p in psutil.process_iter(["cmdline"])}
    memory = {path.name for path in Path("/dev/shm").iterdir()}
    return {name for name in processes if any(server in name for server in SERVERS)} | {
        name for name in memory if name.startswith(SHARED_MEMORY)
    }


BEFORE = servers_and_memory()


def assert_nothing_is_left() -> None:
    """Nothing that was not there when the tests were collected."""
    assert servers_and_memory() - BEFORE == set()
