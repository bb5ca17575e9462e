"""Reads the list of models that a server offers, with the openai SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from openai import APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, Omit, OpenAIError

from client.http_client import client_options, engine_proxy
from client.vllm_errors import one_line, refusal_error
from config.errors import EngineUnreachable
from config.topology import Engine

TIMEOUT_S = 10
# keeps the SDK from sending the organization and project in the environment
NO_ACCOUNT = cast("Mapping[str, str]", {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()})


async def served_model(engine: Engine, name: str | None = None) -> Mapping[str, Any]:
    """Returns the model `name`, or otherwise the first in the list: its `id`, and vLLM's `root` and `max_model_len`.

    Raises EngineRefused for an HTTP error, and EngineUnreachable if there is no answer or it is not a list of models.
    """
    url = f"{engine.url}/v1"
    key = engine.key.get_secret_value() if engine.key else "none"
    http = DefaultAsyncHttpxClient(**client_options(TIMEOUT_S), proxy=engine_proxy(engine))
    sdk = AsyncOpenAI(base_url=url, api_key=key, max_retries=0, http_client=http, default_headers=NO_ACCOUNT)
    try:
        async with asyncio.timeout(TIMEOUT_S), sdk:
            cards = [_card(card.model_dump()) for card in (await sdk.models.list()).data]
        return next((card for card in cards if name and card["id"] == name), cards[0])
    except APIStatusError as exc:
        reason, location = f"no list of models at {exc.request.url}", exc.response.headers.get("Location", "")
        raise refusal_error(engine, exc.status_code, exc.response.content, reason, location) from exc
    except (OpenAIError, TimeoutError, LookupError, AttributeError, TypeError, ValueError) as exc:
        hint = engine.if_down if engine.ours else f"{engine.if_down}, or name its model with --model"
        raise EngineUnreachable(engine.name, f"no list of models at {url}/models", hint=hint) from exc


def _card(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns `id`, `root` and `max_model_len` (tokens) of a model; a value of the wrong type becomes None.

    Raises ValueError if there is no `id`.
    """
    card = {key: one_line(given[key]) if isinstance(given.get(key), str) else None for key in ("id", "root")}
    if not card["id"]:
        raise ValueError("a model without a name")
    context = given.get("max_model_len")
    return card | {"max_model_len": context if isinstance(context, int) else None}
