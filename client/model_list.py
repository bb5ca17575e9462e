"""What a server says that it serves, asked through the openai SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from openai import APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, Omit, OpenAIError

from client.http_client import client_options, engine_proxy
from client.vllm_errors import one_line, refusal_error
from config.errors import EngineError, EngineUnreachable
from config.topology import Engine

PATIENCE_S = 10
NO_ACCOUNT = cast("Mapping[str, str]", {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()})  # of the environment


async def served_model(engine: Engine, named: str | None = None) -> Mapping[str, Any]:
    """The model of this name, or the one that the server lists first: its `id`, and vLLM's `root` and `max_model_len`.

    Raises EngineRefused, and EngineUnreachable where nothing answers or what answers is no list.
    """
    key = engine.key.get_secret_value() if engine.key else "none"
    base_url, http = (
        f"{engine.url}/v1",
        DefaultAsyncHttpxClient(**client_options(PATIENCE_S), proxy=engine_proxy(engine)),
    )
    sdk = AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=http, default_headers=NO_ACCOUNT)
    try:
        async with asyncio.timeout(PATIENCE_S), sdk:
            cards = [_card(card.model_dump()) for card in (await sdk.models.list()).data]
        return next((card for card in cards if named and card["id"] == named), cards[0])
    except APIStatusError as exc:
        raise _refused(engine, exc) from exc
    except (OpenAIError, TimeoutError, LookupError, AttributeError, TypeError, ValueError) as exc:
        fact = f"no list of models at {base_url}/models"  # whatever stands there
        hint = engine.if_down if engine.ours else f"{engine.if_down}, or name its model with --model"
        raise EngineUnreachable(engine.name, fact, hint=hint) from exc


def _refused(engine: Engine, exc: APIStatusError) -> EngineError:
    reason, location = f"no list of models at {exc.request.url}", exc.response.headers.get("Location", "")
    return refusal_error(engine, exc.status_code, exc.response.content, reason, location)


def _card(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is used of a model's card; None for a value of another kind. ValueError for one without a name."""
    named = {key: told.get(key) for key in ("id", "root")}
    card = {key: one_line(value) if isinstance(value, str) else None for key, value in named.items()}
    if not card["id"]:
        raise ValueError("a model without a name")
    context = told.get("max_model_len")
    return card | {"max_model_len": context if isinstance(context, int) else None}
