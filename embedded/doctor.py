"""What this machine lacks to run the stack, and what to do about it."""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from cache.volume import probe
from engines.errors import ConfigError
from engines.settings import Settings
from engines.topology import Topology

GIB = 2**30
# Proportional set size of one engine with SmolLM2-135M and no KV, of one cache server without L1, and of the page.
ENGINE_GIB, CACHE_GIB, PAGE_GIB = 2.3, 0.6, 0.4
CHUNK_FILES_GIB = 2.0  # room for a dozen 7,000-token documents of SmolLM2's KV, 0.15 GiB each


class Verdict(StrEnum):
    """Ordered by weight: only BAD keeps `up` from starting."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: the fact, and what to do where it is not good."""

    subject: str
    verdict: Verdict
    fact: str
    advice: str = ""


def examine(settings: Settings, *, running: bool = False) -> Iterator[Finding]:
    """Everything, in the order in which a start would trip over it. A running stack has its memory and its ports."""
    yield python()
    if running:
        yield from (cpu(), libnuma(), disk(settings), volume(settings))
        yield Finding("stack", Verdict.GOOD, "it runs: ./arena status")
    else:
        yield from needed_by_up(settings)
    yield docker()
    yield gpus()


def needed_by_up(settings: Settings) -> Iterator[Finding]:
    """What `up` looks at before it starts anything."""
    yield cpu()
    yield libnuma()
    yield memory(settings, psutil.virtual_memory().available)
    yield disk(settings)
    yield volume(settings)
    yield from ports(settings)


def python() -> Finding:
    return Finding("Python", Verdict.GOOD, f"{platform.python_version()} at {sys.executable}")


def cpu(cpuinfo: str | None = None, machine: str = platform.machine()) -> Finding:
    """vLLM's CPU build wants AVX2; AVX-512 and bf16 make it fast. Other processors than x86 are taken as they are."""
    flags = set((cpuinfo if cpuinfo is not None else Path("/proc/cpuinfo").read_text()).split())
    fact = f"{len(os.sched_getaffinity(0))} cores, {machine}"
    if machine == "x86_64" and "avx2" not in flags:
        return Finding("CPU", Verdict.BAD, f"{fact}, no AVX2", "vLLM's CPU build needs AVX2: use another machine")
    if machine == "x86_64" and "avx512f" not in flags:
        return Finding(
            "CPU",
            Verdict.NOTE,
            f"{fact}, AVX2 only",
            "it works, in float32 (DTYPE), some times slower than with AVX-512",
        )
    return Finding("CPU", Verdict.GOOD, fact)


def libnuma(find: Callable[[str], str | None] = ctypes.util.find_library) -> Finding:
    if find("numa"):
        return Finding("libnuma", Verdict.GOOD, "found")
    return Finding(
        "libnuma",
        Verdict.BAD,
        "missing, and vLLM dies late without it",
        "apt-get install libnuma1 (Fedora: dnf install numactl-libs)",
    )


def memory_needed(settings: Settings) -> float:
    """GiB that the whole stack takes; weights beyond the embedded model's are counted once for each engine."""
    weights = sum(path.stat().st_size for path in Path(settings.model).glob("*.safetensors")) / GIB
    engine = ENGINE_GIB + settings.kv_cache_memory_gb + max(0.0, weights - 0.25)
    return settings.engines * engine + 2 * (CACHE_GIB + settings.l1_size_gb) + PAGE_GIB


def memory(settings: Settings, available: int) -> Finding:
    """`available` in bytes."""
    needed, free = memory_needed(settings), available / GIB
    fact = f"{free:.1f} GiB available, about {needed:.1f} needed"
    if free >= needed:
        return Finding("memory", Verdict.GOOD, fact)
    less = settings.model_copy(update={"engines": 2})
    if settings.engines == 4 and free >= memory_needed(less):
        advice = f"start the lmcache pair alone, in {memory_needed(less):.1f} GiB: ./arena up --engines 2"
    else:
        advice = "free some, or turn down KV_CACHE_MEMORY_GB and L1_SIZE_GB in .env, and ENGINES to 2"
    return Finding("memory", Verdict.BAD, fact, advice)


def disk(settings: Settings) -> Finding:
    try:
        folder = existing(settings.kv_store_dir)
    except OSError as exc:
        return Finding(
            "disk", Verdict.BAD, f"{settings.kv_store_dir}: {exc.strerror}", "set KV_STORE_DIR to another folder"
        )
    free = shutil.disk_usage(folder).free / GIB
    fact = f"{free:.1f} GiB free for the KV volume on {folder}"
    if free < CHUNK_FILES_GIB:
        return Finding(
            "disk", Verdict.BAD, fact, f"free {CHUNK_FILES_GIB:.0f} GiB, or set KV_STORE_DIR to a larger disk"
        )
    return Finding("disk", Verdict.GOOD, fact)


def volume(settings: Settings) -> Finding:
    try:
        probe(settings.kv_store_dir)
    except ConfigError as exc:
        return Finding("KV volume", Verdict.BAD, str(exc).split(": ", 1)[0], str(exc).split(": ", 1)[-1])
    return Finding("KV volume", Verdict.GOOD, f"{settings.kv_store_dir} can be written")


def ports(settings: Settings) -> Iterator[Finding]:
    """One finding when all are free, else one for each that is taken."""
    topology = Topology.of(settings)
    wanted = {engine.port: ("ENGINE_PORT", engine.name) for engine in topology.engines}
    wanted |= {port: ("CACHE_PORT", cache.name) for cache in topology.caches for port in (cache.port, cache.mq_port)}
    wanted |= {settings.ui_port: ("UI_PORT", "page")}
    taken = [port for port in wanted if not is_free(port)]
    for port in taken:
        setting, name = wanted[port]
        yield Finding(
            "port",
            Verdict.BAD,
            f"{port}, for {name}, is taken{_by(port)}",
            f"stop that, or set {setting} in .env to another",
        )
    if not taken:
        yield Finding("ports", Verdict.GOOD, f"{', '.join(map(str, sorted(wanted)))} are free")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _by(port: int) -> str:
    """Who listens, as far as this user may see."""
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            with suppress(psutil.Error):
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""


def docker() -> Finding:
    fact = _first_line(["docker", "info", "--format", "{{.ServerVersion}}"])
    if fact is None:
        return Finding("Docker", Verdict.NOTE, "no engine answers", "not needed here: ./arena up runs without it")
    return Finding("Docker", Verdict.GOOD, f"engine {fact}")


def gpus() -> Finding:
    fact = _first_line(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])
    if fact is None:
        return Finding("GPUs", Verdict.NOTE, "none found", "not needed here: ./arena up runs on the CPU")
    return Finding("GPUs", Verdict.GOOD, fact)


def _first_line(command: list[str]) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = result.stdout.strip()
    return text.splitlines()[0] if result.returncode == 0 and text else None


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def verdict(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that keep the stack from starting."""
    return tuple(finding for finding in findings if finding.verdict is Verdict.BAD)
