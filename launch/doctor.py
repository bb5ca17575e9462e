"""Checks what this machine lacks for either form of the stack, and advises what to do about it.

Without these checks, a problem would show only after minutes of waiting.
"""

from __future__ import annotations

import ctypes.util
import errno
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import requests

from cache.volume import check_writable
from config.errors import ConfigError
from config.paths import nearest_existing, results_folder
from config.settings import Settings
from config.topology import Topology
from config.write_hints import unwritable_hint
from engines.hub import HttpGet
from launch import container_checks, docker_checks
from launch.check_result import GIB, CheckResult, bad, good, note
from launch.compose import container_device
from launch.docker_checks import RunTool, run_tool
from launch.ports import is_free, port_owner

CHUNK_FILES_GIB = 2.0  # room for SmolLM2's KV of a dozen 7,000-token documents, 0.15 GiB each
# Proportional set size (PSS) of one engine (stand-in model, no KV), of one cache server (no L1), and of the page.
ENGINE_GIB, CACHE_GIB, PAGE_GIB = 2.2, 0.6, 0.4


def check_processes(settings: Settings, *, running: bool = False) -> Iterator[CheckResult]:
    """Yields the checks for ./arena up. If the stack runs, memory and ports are not checked: it already uses them."""
    yield good("Python", f"{platform.python_version()} at {sys.executable}")
    if running:
        yield from (check_cpu(), check_libnuma(), check_disk(settings), check_volume(settings))
        yield good("stack", "it runs: ./arena status")
    else:
        yield from needed_by_processes(settings)
    yield check_results(results_folder())


def needed_by_processes(settings: Settings) -> Iterator[CheckResult]:
    """Yields the checks that `up` makes before it starts anything."""
    yield check_cpu()
    yield check_libnuma()
    yield check_memory(settings, psutil.virtual_memory().available)
    yield check_disk(settings)
    yield check_volume(settings)
    topology = Topology.of(settings)
    wanted = {engine.port: ("ENGINE_PORT", engine.name) for engine in topology.engines}
    wanted |= {port: ("CACHE_PORT", cache.name) for cache in topology.caches for port in (cache.port, cache.mq_port)}
    yield from check_ports(wanted | {settings.ui_port: ("UI_PORT", "page")})


def check_containers(
    env: Mapping[str, str],
    *,
    cpu: bool,
    run: RunTool = run_tool,
    get: HttpGet = requests.get,
    available: int | None = None,
) -> Iterator[CheckResult]:
    """Yields the checks for ./arena up --docker, in the order in which a start would fail.

    `env` is what Compose interpolates; `available` is this machine's free memory in bytes. Raises ConfigError for an
    invalid setting.
    """
    # the other settings are fixed in docker-compose.yml
    names = ("KV_CACHE_MEMORY_GB", "L1_SIZE_GB", "KV_SERDE", "KV_CONNECTOR", "UI_PORT", "CHUNK_SIZE", "BLOCK_SIZE")
    settings = Settings.from_env({"DEVICE": container_device(cpu=cpu), **{name: env.get(name, "") for name in names}})
    found, docker = docker_checks.check_docker(run)
    yield found
    yield docker_checks.check_compose_version(run)
    published = docker_checks.published_ports(run, env) if docker else ""
    if docker:
        yield docker_checks.check_images(run, docker, cpu=cpu)
    if f":{settings.ui_port}->" in published:
        yield good("page", f"it runs: http://127.0.0.1:{settings.ui_port}")
    else:
        yield from check_ports({settings.ui_port: ("UI_PORT", "page")})
    yield from container_checks.check_password(env)
    yield container_checks.check_results(env, docker)
    if cpu:
        yield container_checks.check_generated_model(env)
        if docker and not published:
            free = psutil.virtual_memory().available if available is None else available
            yield check_memory(settings, min(free, docker.memory or free))
        return
    if docker:
        yield docker_checks.check_toolkit(tuple(docker.runtimes), docker.devices)
    models, weights = container_checks.check_model(env, docker, get)
    size = container_checks.model_size(env, weights)
    kv = settings.kv_cache_memory_gb if env.get("KV_CACHE_MEMORY_GB") else 0.0
    l1 = settings.l1_size_gb if env.get("L1_SIZE_GB") else container_checks.L1_SIZE_GB
    yield from docker_checks.check_gpus(env, docker_checks.list_gpus(run), size, kv)
    setting = "ENGINE_MEMORY" if settings.in_process else "CACHE_MEMORY"
    limit = env.get(setting) or container_checks.MEMORY_LIMITS[setting]
    yield container_checks.check_l1(l1, settings.kv_serde, size, docker, setting, limit)
    yield container_checks.check_volume(env, docker)
    yield container_checks.check_key(env, docker)
    yield from models


def check_cpu(cpuinfo: str | None = None, machine: str = platform.machine()) -> CheckResult:
    """Checks for AVX2, which vLLM's CPU build needs, and AVX-512, which makes it fast. Only x86 is checked."""
    flags = set((cpuinfo if cpuinfo is not None else Path("/proc/cpuinfo").read_text()).split())
    fact = f"{len(os.sched_getaffinity(0))} cores, {machine}"
    if machine == "x86_64" and "avx2" not in flags:
        return bad("CPU", f"{fact}, no AVX2", "vLLM's CPU build needs AVX2: use another machine")
    if machine == "x86_64" and "avx512f" not in flags:
        return note("CPU", f"{fact}, AVX2 only", "it works, in float32 (DTYPE), some times slower than with AVX-512")
    return good("CPU", fact)


def check_libnuma(find: Callable[[str], str | None] = ctypes.util.find_library) -> CheckResult:
    if find("numa"):
        return good("libnuma", "found")
    remedy = "apt-get install libnuma1 (Fedora: dnf install numactl-libs)"
    return bad("libnuma", "missing, and vLLM ends without it late in its start", remedy)


def memory_needed(settings: Settings) -> float:
    """Returns the GiB that the stack needs on CPUs. Weights beyond the stand-in model's count once for each engine."""
    weights = sum(path.stat().st_size for path in Path(settings.model).glob("*.safetensors")) / GIB
    engine = ENGINE_GIB + settings.kv_cache_memory_gb + max(0.0, weights - 0.25)
    return settings.engines * engine + 2 * (CACHE_GIB + settings.l1_size_gb) + PAGE_GIB


def check_memory(settings: Settings, available: int) -> CheckResult:
    """Checks that the stack fits in `available` bytes."""
    needed, free = memory_needed(settings), available / GIB
    fact = f"{free:.1f} GiB available, about {needed:.1f} needed"
    if free >= needed:
        return good("memory", fact)
    two = memory_needed(settings.model_copy(update={"engines": 2}))
    if settings.engines == 4 and free >= two:
        return bad("memory", fact, f"start the lmcache pair alone, in {two:.1f} GiB: ./arena up --engines 2")
    advice = "free some, or turn down KV_CACHE_MEMORY_GB and L1_SIZE_GB in .env, with ./arena up --engines 2"
    return bad("memory", fact, advice)


def check_disk(settings: Settings) -> CheckResult:
    try:
        folder = nearest_existing(settings.kv_store_dir)
    except OSError as exc:
        return bad("disk", f"{settings.kv_store_dir}: {exc.strerror}", "set KV_STORE_DIR to another folder")
    free = shutil.disk_usage(folder).free / GIB
    fact = f"{free:.1f} GiB free for the KV volume on {folder}"
    if free < CHUNK_FILES_GIB:
        return bad("disk", fact, f"free {CHUNK_FILES_GIB:.0f} GiB, or set KV_STORE_DIR to a larger disk")
    return good("disk", fact)


def check_volume(settings: Settings) -> CheckResult:
    folder = settings.kv_store_dir
    try:
        check_writable(folder)
    except ConfigError as exc:
        reason = exc.__cause__ if isinstance(exc.__cause__, OSError) else OSError()
        fact = f"KV_STORE_DIR={folder} cannot be written ({reason.strerror})"
        return bad("KV volume", fact, unwritable_hint(folder, reason, "KV_STORE_DIR"))
    return good("KV volume", f"{folder} can be written")


def check_results(folder: Path, may: Callable[[Path, int], bool] = os.access) -> CheckResult:
    """Checks that the folder of benchmark results can be written; benchmarks create it if it is missing."""
    if not folder.is_dir() or may(folder, os.W_OK | os.X_OK):
        return good("results", f"{folder} can be written")
    remedy = unwritable_hint(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "RESULTS_DIR")
    return note("results", f"{folder} cannot be written, and benchmarks leave theirs there", remedy)


def check_ports(wanted: Mapping[int, tuple[str, str]]) -> Iterator[CheckResult]:
    """Yields one result if all ports are free, otherwise one for each that is taken.

    `wanted` gives each port's setting and service.
    """
    taken = [port for port in wanted if not is_free(port)]
    for port in taken:
        setting, name = wanted[port]
        fact = f"{port}, for {name}, is taken{port_owner(port)}"
        yield bad("port", fact, f"stop that, or set {setting} in .env to another")
    if not taken:
        yield good("ports", f"free: {', '.join(map(str, sorted(wanted)))}")
