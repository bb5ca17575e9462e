"""A server that is not the arena's: whatever speaks the OpenAI API, named by `--base-url`."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from engines.errors import ConfigError
from engines.served import served_model
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
    return Engine(name, Kind.PLAIN, side, port, url, model=model or str((await served_model(name, url))["id"]))


def authorization() -> dict[str, str]:
    """The header with OPENAI_API_KEY, where one is set; the SDK sends its own."""
    key = os.environ.get("OPENAI_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}
