"""What keeps `docker compose up` from working, found before minutes of waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import requests

from config.settings import Settings
from engines.hub import HttpGet
from launch import gpus, model_access
from launch.check_result import CheckResult, CheckStatus
from launch.docker_engine import DockerInfo, Run, check_disk_room, compose, docker, docker_info, published
from launch.host_folders import ContainerUser, check_readable_file, check_writable_folder, compose_path
from launch.ports import is_free, port_owner
from launch.requirements import GIB, memory_needed


def check_compose(
    env: Mapping[str, str],
    *,
    cpu: bool,
    run: Run = docker_info,
    get: HttpGet = requests.get,
    available: int | None = None,
) -> Iterator[CheckResult]:
    """Everything, in the order in which a start would trip over it. `env` is what Compose interpolates.

    `available` is this machine's free memory in bytes. Raises ConfigError for a setting that is none.
    """
    settings = _settings(env)
    found, daemon = docker(run)
    yield found
    yield compose(run)
    ports = published(run, env) if daemon else ""
    if daemon:
        yield check_disk_room(run, daemon, cpu=cpu)
    yield page(settings.ui_port, ports)
    if unreadable := password(env):
        yield unreadable
    yield results(env, daemon)
    if cpu:
        yield model_access.on_cpu(env)
        if daemon and not ports:
            free = psutil.virtual_memory().available if available is None else available
            yield memory(settings, min(free, daemon.memory or free))
        return
    yield from _on_gpus(env, daemon, run, get)


def _on_gpus(env: Mapping[str, str], daemon: DockerInfo | None, run: Run, get: HttpGet) -> Iterator[CheckResult]:
    if daemon:
        yield gpus.toolkit(tuple(daemon.runtimes), daemon.devices)
    found, weights = model_access.check_model_access(env, daemon, get)
    kv = _settings(env).kv_cache_memory_gb if env.get("KV_CACHE_MEMORY_GB") else 0.0
    yield from gpus.check_gpus(env, gpus.list_gpus(run), weights, kv)
    yield volume(env, daemon)
    yield key(env, daemon)
    yield from found


def _settings(env: Mapping[str, str]) -> Settings:
    """Those that containers take from the caller; the rest is fixed in docker-compose.yml."""
    return Settings.from_env({name: env.get(name, "") for name in ("KV_CACHE_MEMORY_GB", "L1_SIZE_GB", "UI_PORT")})


def page(port: int, published: str) -> CheckResult:
    """`published` as Docker writes it: `127.0.0.1:7860->7860/tcp`."""
    if f":{port}->" in published:
        return CheckResult("page", CheckStatus.GOOD, f"it runs: http://127.0.0.1:{port}")
    if is_free(port):
        return CheckResult("page", CheckStatus.GOOD, f"port {port} is free")
    fact = f"port {port} is taken{port_owner(port)}"
    return CheckResult("page", CheckStatus.BAD, fact, "stop that, or set UI_PORT in .env to another")


def password(env: Mapping[str, str]) -> CheckResult | None:
    """What keeps the page from reading the password's file; None where nothing does."""
    return check_readable_file("password", compose_path(env, "UI_PASSWORD_FILE", "/dev/null"), ContainerUser.of(env))


def memory(settings: Settings, available: int) -> CheckResult:
    """For four engines on the CPU; `available` in bytes."""
    needed, free = memory_needed(settings), available / GIB
    fact = f"{free:.1f} GiB available, about {needed:.1f} needed"
    if free >= needed:
        return CheckResult("memory", CheckStatus.GOOD, fact)
    advice = "free some, or turn down KV_CACHE_MEMORY_GB and L1_SIZE_GB in .env; ./arena up --engines 2 needs half"
    return CheckResult("memory", CheckStatus.BAD, fact, advice)


def volume(env: Mapping[str, str], daemon: DockerInfo | None) -> CheckResult:
    """The KV volume's folder, and each model's in it."""
    folder = compose_path(env, "KV_STORE_DIR", "./.arena/kv")
    try:
        inner = tuple(sorted(os.listdir(folder)))
    except OSError:
        inner = ()
    return _folder("KV volume", folder, env, daemon, inner)


def key(env: Mapping[str, str], daemon: DockerInfo | None) -> CheckResult:
    """The folder of the key that authenticates stored KV, and the key in it."""
    folder = compose_path(env, "KV_KEY_DIR", "./.arena/key")
    found = _folder("KV key", folder, env, daemon)
    file = folder / "kv.key"
    if found.verdict is CheckStatus.GOOD and os.path.exists(file):
        return check_readable_file("KV key", file, ContainerUser.of(env)) or found
    return found


def results(env: Mapping[str, str], daemon: DockerInfo | None) -> CheckResult:
    """Where benchmarks leave their results. The caller's own is good for `./arena bench`, if not for the page."""
    folder = compose_path(env, "RESULTS_DIR", "./results")
    found = _folder("results", folder, env, daemon)
    if found.verdict is CheckStatus.BAD and folder.is_dir() and folder.stat().st_uid == os.getuid() != 0:
        return replace(found, verdict=CheckStatus.NOTE)
    return found


def _folder(
    subject: str, folder: Path, env: Mapping[str, str], daemon: DockerInfo | None, inner: Sequence[str] = ()
) -> CheckResult:
    if daemon and daemon.maps_users:
        return CheckResult(
            subject, CheckStatus.NOTE, f"{folder}: Docker maps users, so it cannot be said who may write it"
        )
    return check_writable_folder(subject, folder, ContainerUser.of(env), inner=inner, made_by_up=True)
