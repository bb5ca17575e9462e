"""What this machine lacks to run the stack, and what to do about it."""

from __future__ import annotations

import ctypes.util
import errno
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from cache.volume import check_writable
from config.errors import ConfigError
from config.paths import nearest_existing, results_folder
from config.settings import Settings
from config.topology import Topology
from config.write_hints import unwritable_hint
from launch.check_result import CheckResult, CheckStatus
from launch.ports import is_free, port_owner
from launch.requirements import GIB, memory_needed

CHUNK_FILES_GIB = 2.0  # room for a dozen 7,000-token documents of SmolLM2's KV, 0.15 GiB each


def check_machine(settings: Settings, *, running: bool = False) -> Iterator[CheckResult]:
    """Everything, in the order in which a start would trip over it. A running stack has its memory and its ports."""
    yield python()
    if running:
        yield from (cpu(), libnuma(), disk(settings), volume(settings))
        yield CheckResult("stack", CheckStatus.GOOD, "it runs: ./arena status")
    else:
        yield from needed_by_up(settings)
    yield results(results_folder())
    yield docker()
    yield gpus()


def needed_by_up(settings: Settings) -> Iterator[CheckResult]:
    """What `up` looks at before it starts anything."""
    yield cpu()
    yield libnuma()
    yield memory(settings, psutil.virtual_memory().available)
    yield disk(settings)
    yield volume(settings)
    yield from ports(settings)


def python() -> CheckResult:
    return CheckResult("Python", CheckStatus.GOOD, f"{platform.python_version()} at {sys.executable}")


def cpu(cpuinfo: str | None = None, machine: str = platform.machine()) -> CheckResult:
    """vLLM's CPU build wants AVX2; AVX-512 and bf16 make it fast. Other processors than x86 are taken as they are."""
    flags = set((cpuinfo if cpuinfo is not None else Path("/proc/cpuinfo").read_text()).split())
    fact = f"{len(os.sched_getaffinity(0))} cores, {machine}"
    if machine == "x86_64" and "avx2" not in flags:
        return CheckResult(
            "CPU", CheckStatus.BAD, f"{fact}, no AVX2", "vLLM's CPU build needs AVX2: use another machine"
        )
    if machine == "x86_64" and "avx512f" not in flags:
        return CheckResult(
            "CPU",
            CheckStatus.NOTE,
            f"{fact}, AVX2 only",
            "it works, in float32 (DTYPE), some times slower than with AVX-512",
        )
    return CheckResult("CPU", CheckStatus.GOOD, fact)


def libnuma(find: Callable[[str], str | None] = ctypes.util.find_library) -> CheckResult:
    if find("numa"):
        return CheckResult("libnuma", CheckStatus.GOOD, "found")
    return CheckResult(
        "libnuma",
        CheckStatus.BAD,
        "missing, and vLLM dies late without it",
        "apt-get install libnuma1 (Fedora: dnf install numactl-libs)",
    )


def memory(settings: Settings, available: int) -> CheckResult:
    """`available` in bytes."""
    needed, free = memory_needed(settings), available / GIB
    fact = f"{free:.1f} GiB available, about {needed:.1f} needed"
    if free >= needed:
        return CheckResult("memory", CheckStatus.GOOD, fact)
    less = settings.model_copy(update={"engines": 2})
    if settings.engines == 4 and free >= memory_needed(less):
        advice = f"start the lmcache pair alone, in {memory_needed(less):.1f} GiB: ./arena up --engines 2"
    else:
        advice = "free some, or turn down KV_CACHE_MEMORY_GB and L1_SIZE_GB in .env, and ENGINES to 2"
    return CheckResult("memory", CheckStatus.BAD, fact, advice)


def disk(settings: Settings) -> CheckResult:
    try:
        folder = nearest_existing(settings.kv_store_dir)
    except OSError as exc:
        return CheckResult(
            "disk", CheckStatus.BAD, f"{settings.kv_store_dir}: {exc.strerror}", "set KV_STORE_DIR to another folder"
        )
    free = shutil.disk_usage(folder).free / GIB
    fact = f"{free:.1f} GiB free for the KV volume on {folder}"
    if free < CHUNK_FILES_GIB:
        return CheckResult(
            "disk", CheckStatus.BAD, fact, f"free {CHUNK_FILES_GIB:.0f} GiB, or set KV_STORE_DIR to a larger disk"
        )
    return CheckResult("disk", CheckStatus.GOOD, fact)


def volume(settings: Settings) -> CheckResult:
    try:
        check_writable(settings.kv_store_dir)
    except ConfigError as exc:
        reason = exc.__cause__ if isinstance(exc.__cause__, OSError) else OSError()
        fact = f"KV_STORE_DIR={settings.kv_store_dir} cannot be written ({reason.strerror})"
        return CheckResult(
            "KV volume", CheckStatus.BAD, fact, unwritable_hint(settings.kv_store_dir, reason, "KV_STORE_DIR")
        )
    return CheckResult("KV volume", CheckStatus.GOOD, f"{settings.kv_store_dir} can be written")


def results(folder: Path, may: Callable[[Path, int], bool] = os.access) -> CheckResult:
    """Where benchmarks leave their results. They make it where it is missing."""
    if not folder.is_dir() or may(folder, os.W_OK | os.X_OK):
        return CheckResult("results", CheckStatus.GOOD, f"{folder} can be written")
    remedy = unwritable_hint(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "RESULTS_DIR")
    return CheckResult(
        "results", CheckStatus.NOTE, f"{folder} cannot be written, and benchmarks leave theirs there", remedy
    )


def ports(settings: Settings) -> Iterator[CheckResult]:
    """One finding when all are free, else one for each that is taken."""
    topology = Topology.of(settings)
    wanted = {engine.port: ("ENGINE_PORT", engine.name) for engine in topology.engines}
    wanted |= {port: ("CACHE_PORT", cache.name) for cache in topology.caches for port in (cache.port, cache.mq_port)}
    wanted |= {settings.ui_port: ("UI_PORT", "page")}
    taken = [port for port in wanted if not is_free(port)]
    for port in taken:
        setting, name = wanted[port]
        yield CheckResult(
            "port",
            CheckStatus.BAD,
            f"{port}, for {name}, is taken{port_owner(port)}",
            f"stop that, or set {setting} in .env to another",
        )
    if not taken:
        yield CheckResult("ports", CheckStatus.GOOD, f"{', '.join(map(str, sorted(wanted)))} are free")


def docker() -> CheckResult:
    fact = _first_line(["docker", "info", "--format", "{{.ServerVersion}}"])
    if fact is None:
        return CheckResult(
            "Docker", CheckStatus.NOTE, "no engine answers", "not needed here: ./arena up runs without it"
        )
    return CheckResult("Docker", CheckStatus.GOOD, f"engine {fact}")


def gpus() -> CheckResult:
    fact = _first_line(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])
    if fact is None:
        return CheckResult("GPUs", CheckStatus.NOTE, "none found", "not needed here: ./arena up runs on the CPU")
    return CheckResult("GPUs", CheckStatus.GOOD, fact)


def _first_line(command: list[str]) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = result.stdout.strip()
    return text.splitlines()[0] if result.returncode == 0 and text else None
