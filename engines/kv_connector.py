"""The `--kv-transfer-config` of an engine that shares its KV, for each value of KV_CONNECTOR.

| KV_CONNECTOR | vLLM's connector | where KV goes |
|---|---|---|
| lmcache-mp | LMCacheMPConnector | to LMCache's server of the same side, which stores it on the KV volume |
| lmcache | LMCacheConnectorV1 | LMCache inside vLLM's process: memory, then files on the KV volume (`fs://`) |
| offloading | OffloadingConnector | vLLM's own: memory, then its `fs` tier on the KV volume |

The last two need GPUs and were not run on any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from config.errors import ConfigError
from config.settings import Settings
from config.topology import CacheServer, Engine


def kv_transfer_config(engine: Engine, settings: Settings, namespace: Path | None) -> Mapping[str, object]:
    """Returns the configuration; `namespace` is the folder on the KV volume for a connector inside vLLM's process.

    Raises ConfigError if such a connector has no folder or no GPU.
    """
    if isinstance(engine.store, CacheServer):
        # a module makes a failed import fatal: vLLM would otherwise use its own copy, whose keys leave out media
        module = {"kv_connector_module_path": "engines.lmcache_connector"}
        return _connector("LMCacheMPConnector", _cache_server(engine.store, settings)) | module
    if settings.device == "cpu":
        raise ConfigError(f"KV_CONNECTOR={settings.kv_connector} needs DEVICE=cuda; on a CPU there is lmcache-mp")
    if namespace is None:
        raise ConfigError(
            f"KV_CONNECTOR={settings.kv_connector} needs a folder on the KV volume, which python -m cache serve "
            f"{engine.name} makes (docker compose: add -f docker-compose.in-process.yml)"
        )
    if settings.kv_connector == "lmcache":
        return _connector("LMCacheConnectorV1", _files(engine, settings, namespace))
    return _connector("OffloadingConnector", _tiers(settings, namespace))


def _connector(name: str, extra_config: Mapping[str, object]) -> dict[str, object]:
    return {
        "kv_connector": name,
        "kv_role": "kv_both",
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": extra_config,
    }


def _cache_server(cache: CacheServer, settings: Settings) -> Mapping[str, object]:
    # engine and cache server then open each other's GPU memory without a shared /dev/shm or IPC namespace
    isolated = {"lmcache.mp.isolated_ipc": True} if settings.device == "cuda" else {}
    return {
        "lmcache.mp.host": f"tcp://{cache.host}",
        "lmcache.mp.port": cache.mq_port,
        "lmcache.mp.heartbeat_interval": 2,
        "lmcache.mp.mq_timeout": 10,  # seconds that an engine waits for a cache server that hangs; LMCache has 300
        **isolated,
    }


def _files(engine: Engine, settings: Settings, namespace: Path) -> Mapping[str, object]:
    """LMCache's settings. Each side has its own folder for unfinished files, as the cache servers have."""
    return {
        "lmcache.chunk_size": settings.chunk_size,
        "lmcache.local_cpu": True,
        "lmcache.max_local_cpu_size": settings.l1_size_gb,
        "lmcache.remote_url": f"fs://localhost:0{namespace}",
        "lmcache.extra_config": {"fs_connector_relative_tmp_dir": f".tmp-{engine.side}"},
    }


def _tiers(settings: Settings, namespace: Path) -> Mapping[str, object]:
    return {
        "spec_name": "TieringOffloadingSpec",
        "cpu_bytes_to_use": settings.l1_size_gb * 2**30,
        "block_size": settings.chunk_size,
        "secondary_tiers": [{"type": "fs", "root_dir": str(namespace)}],
    }
