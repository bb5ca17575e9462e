"""What a server says that it serves, asked through the openai SDK."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError

from engines.errors import EngineUnreachable
from engines.tls import TLS

PATIENCE_S = 10


async def served_model(name: str, url: str) -> Mapping[str, Any]:
    """The model that the server at `url` lists first: its `id`, and with vLLM `root` and `max_model_len`.

    OPENAI_API_KEY goes with the request. Raises EngineUnreachable, which calls the server `name`.
    """
    key = os.environ.get("OPENAI_API_KEY") or "none"
    http = DefaultAsyncHttpxClient(verify=TLS, timeout=PATIENCE_S)
    try:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http) as sdk:
            listed = await sdk.models.list()
            return listed.data[0].model_dump()
    except (OpenAIError, LookupError, AttributeError, TypeError, ValueError) as exc:  # whatever stands there for a list
        step = "is it up, and does it want OPENAI_API_KEY?"
        raise EngineUnreachable(name, f"no list of models at {url}/v1/models: {step}") from exc
