"""How the containers do, in the words of `./arena status`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from config.settings import Settings
from config.topology import ServiceKind, Topology


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One line of `status`. An engine's `url` is its name on the containers' own network: nothing publishes it."""

    name: str
    kind: ServiceKind
    url: str
    healthy: bool
    pid: int  # on this machine; 0 when it does not run
    state: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def expected_services(settings: Settings) -> dict[str, tuple[ServiceKind, str]]:
    """Kind and URL of each service, in the order in which they are shown."""
    topology = Topology.of(settings)
    services = {cache.name: (cache.kind, cache.url) for cache in topology.caches}
    services |= {engine.name: (engine.kind, engine.url) for engine in topology.engines}
    return services | {"page": (ServiceKind.PAGE, f"http://127.0.0.1:{settings.ui_port}")}


def list_containers(listed: str, pids: Mapping[str, int], settings: Settings) -> tuple[ContainerStatus, ...]:
    """`listed` is what `docker compose ps --all --format json` prints, one object a line; `pids` go by container."""
    found = {row["Service"]: row for row in map(json.loads, listed.splitlines())}
    return tuple(
        _container(name, kind, url, found.get(name), pids) for name, (kind, url) in expected_services(settings).items()
    )


def _container(
    name: str, kind: ServiceKind, url: str, row: Mapping[str, str] | None, pids: Mapping[str, int]
) -> ContainerStatus:
    if row is None:
        return ContainerStatus(name, kind, url, healthy=False, pid=0, state="absent")
    state = row["State"] if not row.get("Health") else f"{row['State']}, {row['Health']}"
    return ContainerStatus(name, kind, url, row.get("Health") == "healthy", pids.get(row["ID"], 0), state)
