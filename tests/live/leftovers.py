"""Checks that a stopped stack leaves nothing on the machine; what was there before the tests is ignored."""

from __future__ import annotations

from pathlib import Path

import psutil

SERVERS = ("vllm serve", "VLLM::", "cache.lmcache_server")
SHARED_MEMORY = ("lmcache", "psm_", "sem.mp")


def servers_and_memory() -> set[str]:
    """Returns the processes of vLLM and LMCache, and their shared memory."""
    processes = {f"{p.pid} {' '.join(p.info['cmdline'] or ())}" for p in psutil.process_iter(["cmdline"])}
    memory = {path.name for path in Path("/dev/shm").iterdir()}
    return {name for name in processes if any(server in name for server in SERVERS)} | {
        name for name in memory if name.startswith(SHARED_MEMORY)
    }


BEFORE = servers_and_memory()


def assert_nothing_is_left() -> None:
    """Asserts that there is nothing new since the tests were collected."""
    assert servers_and_memory() - BEFORE == set()
