"""A server that is not the arena's: whatever speaks the OpenAI API, named by `--base-url`."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import httpx

from engines.errors import ConfigError, EngineUnreachable
from engines.tls import TLS
from engines.topology import Engine, Kind


async def engine_at(base_url: str, side: str, model: str | None) -> Engine:
    """With the model that the server lists first, unless one is named. Raises ConfigError, EngineUnreachable."""
    parts = urlsplit(base_url.rstrip("/").removesuffix("/v1"))
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ConfigError(f"--base-url {base_url} is not an http address: give http://host:port")
    url = parts.geturl()
    name = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    return Engine(name, Kind.PLAIN, side, port, url, model=model or await _served_model(name, url))


def authorization() -> dict[str, str]:
    """The header with OPENAI_API_KEY, where one is set; requests of the SDK have it by themselves."""
    key = os.environ.get("OPENAI_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


async def _served_model(name: str, url: str) -> str:
    try:
        async with httpx.AsyncClient(timeout=10, verify=TLS, headers=authorization()) as client:
            return str((await client.get(f"{url}/v1/models")).raise_for_status().json()["data"][0]["id"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as exc:
        step = "is it up, and does it want OPENAI_API_KEY? Or name the --model"
        raise EngineUnreachable(name, f"no list of models at {url}/v1/models: {step}") from exc
