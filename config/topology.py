"""Who is who: the engines, the cache servers, and where each is reached. Nothing is written per engine elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
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
    """One LMCache server. `port` is its HTTP side, `mq_port` the ZeroMQ side that its engine talks to."""

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
    """One vLLM server. `cache` is the cache server of the same side, or None on a plain engine.

    One that is not `ours` was named by --base-url and may be any server of the OpenAI API. Only such a one has a `key`.
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
        """What to do when it does not answer."""
        if self.ours:
            return "./arena status shows the stack, ./arena up starts it"
        return f"see that a server runs at {self.url}"

    @property
    def if_failed(self) -> str:
        """Where to look for the reason of a failure."""
        return f"./arena logs {self.name} says why" if self.ours else "see the log of that server"

    @property
    def headers(self) -> dict[str, str]:
        """With the key of a server that has one."""
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"} if self.key else {}


@dataclass(frozen=True, slots=True)
class Topology:
    """All engines and cache servers, in the order in which every screen and report lists them."""

    engines: tuple[Engine, ...]
    caches: tuple[CacheServer, ...]

    @classmethod
    def of(cls, settings: Settings) -> Topology:
        """With ENGINES=2 the plain pair is left out; ports stay where they are with four."""
        caches = tuple(_cache(settings, side, index) for index, side in enumerate("ab"))
        kinds = (ServiceKind.PLAIN, ServiceKind.LMCACHE) if settings.engines == 4 else (ServiceKind.LMCACHE,)
        return cls(
            engines=tuple(_engine(settings, kind, cache) for kind in kinds for cache in caches),
            caches=caches,
        )

    def engine(self, name: str) -> Engine:
        """Raises ConfigError, listing the names, when there is none of this name."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise ConfigError(f"no engine '{name}': choose one of {', '.join(e.name for e in self.engines)}")

    def cache(self, name: str) -> CacheServer:
        """Raises ConfigError, listing the names, when there is none of this name."""
        for cache in self.caches:
            if cache.name == name:
                return cache
        raise ConfigError(f"no cache server '{name}': choose one of {', '.join(c.name for c in self.caches)}")


def _cache(settings: Settings, side: str, index: int) -> CacheServer:
    name, port = f"cache-{side}", settings.cache_port + index
    return CacheServer(name, side, port, port + 2, settings.cache_url.format(name=name, port=port))


def _engine(settings: Settings, kind: ServiceKind, cache: CacheServer) -> Engine:
    name = f"{kind}-{cache.side}"
    port = settings.engine_port + 2 * (kind is ServiceKind.LMCACHE) + (cache.side == "b")
    url = settings.engine_url.format(name=name, port=port)
    return Engine(name, kind, cache.side, port, url, cache if kind is ServiceKind.LMCACHE else None)
