"""Any server with the OpenAI API that the arena did not start, named by `--base-url`."""

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
REQUIRED_FIELDS = ("messages", "model", "stream")  # nothing can be measured without them


async def external_engine(
    base_url: str,
    side: str,
    model: str | None,
    extra_body: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Engine:
    """Returns an Engine for the server, with OPENAI_API_KEY and `model`, or otherwise the first model that it lists.

    Raises ConfigError for a bad address or key, and EngineError if the model has to be looked up and that fails.
    """
    try:
        url = normalize_url(base_url)
    except ValueError as exc:
        raise ConfigError(f"--base-url {base_url!r} {exc}") from exc
    parts, key = urlsplit(url), api_key(environ)
    name = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    fields = extra_body or {}
    engine = Engine(name, ServiceKind.PLAIN, side, url_port(url), url, ours=False, key=key, extra_body=fields)
    return replace(engine, model=model or str((await served_model(engine))["id"]))


def api_key(environ: Mapping[str, str]) -> SecretStr | None:
    """Returns OPENAI_API_KEY, or None if it is unset or empty.

    Raises ConfigError for characters that an HTTP header cannot contain; the message does not show the key.
    """
    key = environ.get(API_KEY_VARIABLE, "")
    for place, character in enumerate(key, 1):
        if not "!" <= character <= "~":
            which = f"character {place} of {len(key)} is U+{ord(character):04X}"
            raise ConfigError(f"{API_KEY_VARIABLE} is no key: {which}, and keys are printable ASCII; set it again")
    return SecretStr(key) if key else None


def parse_extra_body(text: str | None) -> dict[str, Any]:
    """Parses `--extra-body`. Raises ConfigError if it is not a JSON object, or sets one of REQUIRED_FIELDS."""
    try:
        fields = from_json(text) if text else {}
    except ValueError as exc:
        raise ConfigError(f"--extra-body {text!r} is not JSON ({exc}): write '{{\"seed\": null}}'") from exc
    if not isinstance(fields, dict):
        raise ConfigError(f"--extra-body {text!r} is no JSON object: write '{{\"seed\": null}}'")
    if taken := [name for name in REQUIRED_FIELDS if name in fields]:
        raise ConfigError(f"--extra-body cannot set {taken[0]}, which every request needs as it is: leave it out")
    return fields
