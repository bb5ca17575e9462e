"""The exact command line of each cache server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cache.versions import serving_versions
from cache.volume import current_namespace, lmcache_storage_config, namespace_path
from config.errors import ConfigError
from config.settings import Settings
from config.topology import CacheServer, Topology
from engines.vllm_command import HUGE_PAGES, Command, vllm_command


def lmcache_command(cache: CacheServer, settings: Settings, folder: Path) -> Command:
    """Returns the command of one LMCache server: L1 is memory, L2 the namespace `folder` on the KV volume."""
    size = str(settings.l1_size_gb)
    argv = ["python", "-m", "cache.lmcache_server", "server", "--instance-id", cache.name]
    argv += ["--host", settings.bind_host, "--port", str(cache.mq_port)]
    argv += ["--http-host", settings.bind_host, "--http-port", str(cache.port)]
    argv += ["--chunk-size", str(settings.chunk_size), "--l1-size-gb", size, "--eviction-policy", "LRU"]
    if settings.device == "cpu":
        # CPU engines move their KV through shared memory, which must be allocated at startup
        argv += ["--l1-init-size-gb", size, "--no-l1-use-lazy", "--supported-transfer-mode", "auto"]
        argv += ["--shm-name", shm_name(cache)]
        # a load needs room for all its chunks at once, twice that with decryption: 0.7 GiB for 8,192 tokens in float32
        argv += ["--eviction-trigger-watermark", "0.25"]
    else:
        argv += ["--isolated-ipc"]  # as in the engines' connector
    argv += ["--l2-adapter", json.dumps(lmcache_storage_config(settings, cache.side, folder))]
    env = {"PYTHONHASHSEED": "0", "LMCACHE_TRACK_USAGE": "false", "DO_NOT_TRACK": "1"}
    return Command(tuple(argv), env | HUGE_PAGES if settings.device == "cpu" else env)


def all_commands(settings: Settings) -> Iterator[tuple[str, Command]]:
    """Yields every server's name and command in the order of starting, cache servers first."""
    topology = Topology.of(settings)
    try:
        folder = namespace_path(settings, serving_versions())
    except ConfigError:  # vLLM and LMCache are installed elsewhere, as in containers, which have created the namespace
        folder = current_namespace(settings)
    yield from ((cache.name, lmcache_command(cache, settings, folder)) for cache in topology.caches)
    yield from ((engine.name, vllm_command(engine, settings, folder)) for engine in topology.engines)


def shm_name(cache: CacheServer) -> str:
    """Returns the shared memory's name, which contains the port to be unique among the stacks of one machine."""
    return f"arena_{cache.side}_{cache.port}"
