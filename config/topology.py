"""The engines, the cache servers, and where each is reached. Nothing is written per engine elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from config.errors import ConfigError
from config.settings import Settings

SERVED_MODEL_NAME = "arena"


class ServiceKind(StrEnum):
    """What a service is."""

    PLAIN = "plain"
    LMCACHE = "lmcache"
    CACHE = "cache"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class CacheServer:
    """One LMCache server. `port` is for HTTP, `mq_port` for its engine, over ZeroMQ."""

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
class Engine:
    """One vLLM server. `cache` is the cache server of the same side, or None for a plain engine.

    A server that is not `ours` was named by --base-url and may be any server of the OpenAI API. Only it has a `key`.
    """

    name: str
    kind: ServiceKind
    side: str
    port: int
    url: str
    cache: CacheServer | None = None
    model: str = SERVED_MODEL_NAME  # what it calls its model
    ours: bool = True
    key: SecretStr | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)  # over a request's fields; None omits one

    @property
    def if_down(self) -> str:
        """What to do when the engine does not answer."""
        if self.ours:
            return "./arena status shows the stack, ./arena up starts it"
        return f"see that a server runs at {self.url}"

    @property
    def if_failed(self) -> str:
        """Where to look for the reason of a failure."""
        return f"./arena logs {self.name} says why" if self.ours else "see the log of that server"

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers with the key, where there is one."""
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}


Service = TypeVar("Service", CacheServer, Engine)


@dataclass(frozen=True, slots=True)
class Topology:
    """All engines and cache servers, in the order in which every screen and report lists them."""

    engines: tuple[Engine, ...]
    caches: tuple[CacheServer, ...]

    @classmethod
    def of(cls, settings: Settings) -> Topology:
        """With ENGINES=2 there is no plain pair; ports are the same as with four."""
        caches = tuple(_cache(settings, side, index) for index, side in enumerate("ab"))
        kinds = (ServiceKind.PLAIN, ServiceKind.LMCACHE) if settings.engines == 4 else (ServiceKind.LMCACHE,)
        return cls(tuple(_engine(settings, kind, cache) for kind in kinds for cache in caches), caches)

    def engine(self, name: str) -> Engine:
        """Raises ConfigError that lists the names when no engine has this one."""
        return _named(self.engines, name, "engine")

    def cache(self, name: str) -> CacheServer:
        """Raises ConfigError that lists the names when no cache server has this one."""
        return _named(self.caches, name, "cache server")


def _named(services: Sequence[Service], name: str, what: str) -> Service:
    known = {service.name: service for service in services}
    if name not in known:
        raise ConfigError(f"no {what} '{name}': choose one of {', '.join(known)}")
    return known[name]


def _cache(settings: Settings, side: str, index: int) -> CacheServer:
    name, port = f"cache-{side}", settings.cache_port + index
    return CacheServer(name, side, port, port + 2, settings.cache_url.format(name=name, port=port))


def _engine(settings: Settings, kind: ServiceKind, cache: CacheServer) -> Engine:
    name = f"{kind}-{cache.side}"
    port = settings.engine_port + 2 * (kind is ServiceKind.LMCACHE) + (cache.side == "b")
    url = settings.engine_url.format(name=name, port=port)
    return Engine(name, kind, cache.side, port, url, cache if kind is ServiceKind.LMCACHE else None)
