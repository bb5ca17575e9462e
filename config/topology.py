"""Engines and cache servers with their addresses. No other module has a list of engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from config.errors import ConfigError
from config.settings import Settings

SERVED_MODEL_NAME = "arena"


class ServiceKind(StrEnum):
    PLAIN = "plain"
    LMCACHE = "lmcache"
    CACHE = "cache"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class CacheServer:
    """One LMCache server. `port` is for HTTP; `mq_port` is for its engine, which uses ZeroMQ."""

    name: str
    side: str
    port: int
    mq_port: int
    url: str
    kind: ServiceKind = ServiceKind.CACHE

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "127.0.0.1"


@dataclass(frozen=True, slots=True)
class KVFolder:
    """The KV volume of engines that read and write it themselves, so that no cache server counts what is stored.

    `connector` is KV_CONNECTOR.
    """

    path: Path
    connector: str


@dataclass(frozen=True, slots=True)
class Engine:
    """One vLLM server. `store` is where its KV goes: the cache server of the same side, or the KV volume itself if its
    connector works inside vLLM's process. Plain engines have None.

    `ours` is False for a server named by --base-url, which may be any server with the OpenAI API. Only such a server
    may have a `key`.
    """

    name: str
    kind: ServiceKind
    side: str
    port: int
    url: str
    store: CacheServer | KVFolder | None = None
    model: str = SERVED_MODEL_NAME  # the model's name in requests
    ours: bool = True
    key: SecretStr | None = None
    chunk_size: int = 1  # CHUNK_SIZE; a server that is not ours may cache any number of tokens, which 1 allows
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)  # overrides request fields; None omits one

    @property
    def cache(self) -> CacheServer | None:
        """The cache server of the same side, if there is one."""
        return self.store if isinstance(self.store, CacheServer) else None

    @property
    def if_down(self) -> str:
        """A hint for an engine that does not answer."""
        if self.ours:
            return "./arena status shows the stack, ./arena up starts it"
        return f"see that a server runs at {self.url}"

    @property
    def if_failed(self) -> str:
        """A hint on where to find the cause of a failure."""
        return f"./arena logs {self.name} says why" if self.ours else "see the log of that server"

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP header with the key; empty if there is no key."""
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}


Service = TypeVar("Service", CacheServer, Engine)


@dataclass(frozen=True, slots=True)
class Topology:
    """All engines and cache servers, in the order of every screen and report."""

    engines: tuple[Engine, ...]
    caches: tuple[CacheServer, ...]

    @classmethod
    def of(cls, settings: Settings) -> Topology:
        """Returns the topology for the settings. ENGINES=2 leaves out the plain engines; ports do not change.

        There are no cache servers if KV_CONNECTOR works inside vLLM's process.
        """
        caches = tuple(_cache(settings, side, index) for index, side in enumerate("ab"))
        kinds = (ServiceKind.PLAIN, ServiceKind.LMCACHE) if settings.engines == 4 else (ServiceKind.LMCACHE,)
        engines = tuple(_engine(settings, kind, cache) for kind in kinds for cache in caches)
        return cls(engines, () if settings.in_process else caches)

    def engine(self, name: str) -> Engine:
        """Returns the engine with this name. Raises ConfigError, which lists the names, if there is none."""
        return _named(self.engines, name, "engine")

    def cache(self, name: str) -> CacheServer:
        """Returns the cache server with this name. Raises ConfigError, which lists the names, if there is none."""
        return _named(self.caches, name, "cache server")


def _named(services: Sequence[Service], name: str, what: str) -> Service:
    known = {service.name: service for service in services}
    if name not in known:
        hint = f"choose one of {', '.join(known)}" if known else "there is none with this KV_CONNECTOR"
        raise ConfigError(f"no {what} '{name}': {hint}")
    return known[name]


def _cache(settings: Settings, side: str, index: int) -> CacheServer:
    name, port = f"cache-{side}", settings.cache_port + index
    return CacheServer(name, side, port, port + 2, settings.cache_url.format(name=name, port=port))


def _engine(settings: Settings, kind: ServiceKind, cache: CacheServer) -> Engine:
    name = f"{kind}-{cache.side}"
    port = settings.engine_port + 2 * (kind is ServiceKind.LMCACHE) + (cache.side == "b")
    url = settings.engine_url.format(name=name, port=port)
    volume = KVFolder(settings.kv_store_dir, settings.kv_connector) if settings.in_process else cache
    store = volume if kind is ServiceKind.LMCACHE else None
    return Engine(name, kind, cache.side, port, url, store, chunk_size=settings.chunk_size)
