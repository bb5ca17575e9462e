"""A server that is not the arena's: whatever speaks the OpenAI API, named by `--base-url`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic_core import from_json

from client.model_list import served_model
from config.errors import ConfigError
from config.server_url import normalize_url, url_port
from config.topology import Engine, ServiceKind

API_KEY_VARIABLE = "OPENAI_API_KEY"
REQUIRED_FIELDS = ("messages", "model", "stream")  # fields without which nothing could be measured


async def external_engine(
    base_url: str,
    side: str,
    model: str | None,
    extra_body: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Engine:
    """With OPENAI_API_KEY, and the model that the server lists first unless one is named.

    Raises ConfigError, and EngineError where no model is named and none is listed.
    """
    try:
        url = normalize_url(base_url)
    except ValueError as exc:
        raise ConfigError(f"--base-url {base_url!r} {exc}") from exc
    parts = urlsplit(url)
    name = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    engine = Engine(
        name, ServiceKind.PLAIN, side, url_port(url), url, ours=False, key=api_key(environ), extra_body=extra_body or {}
    )
    return replace(engine, model=model or str((await served_model(engine))["id"]))


def api_key(environ: Mapping[str, str]) -> SecretStr | None:
    """OPENAI_API_KEY, where one is set. Raises ConfigError for what cannot stand in a header; the key is not shown."""
    key = environ.get(API_KEY_VARIABLE, "")
    bad = next((place for place, each in enumerate(key, 1) if not "!" <= each <= "~"), None)
    if bad is not None:
        which = f"character {bad} of {len(key)} is U+{ord(key[bad - 1]):04X}"
        raise ConfigError(
            f"{API_KEY_VARIABLE} is no key: {which}, and keys have letters, digits and signs of ASCII; set it again"
        )
    return SecretStr(key) if key else None


def parse_extra_body(text: str | None) -> dict[str, Any]:
    """The JSON object of `--extra-body`. Raises ConfigError for anything else."""
    try:
        fields = from_json(text) if text else {}
    except ValueError as exc:
        raise ConfigError(f"--extra-body {text!r} is not JSON ({exc}): write '{{\"seed\": null}}'") from exc
    if not isinstance(fields, dict):
        raise ConfigError(f"--extra-body {text!r} is no JSON object: write '{{\"seed\": null}}'")
    if taken := [name for name in REQUIRED_FIELDS if name in fields]:
        raise ConfigError(f"--extra-body cannot set {taken[0]}, which every request needs as it is: leave it out")
    return fields
