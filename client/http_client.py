"""Clients for requests that are not timed. No proxy of the environment stands before the arena's own servers."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from client.tls import TLS
from config.errors import ConfigError
from config.topology import Engine

BODY_BYTES = 2**25  # of an answer; a page of metrics has some hundred KiB


def http_client(timeout_s: float, engine: Engine | None = None) -> httpx.AsyncClient:
    """For one engine, with its key and its proxy; or for any services of the arena."""
    if engine is None:
        return httpx.AsyncClient(**client_options(timeout_s))
    return httpx.AsyncClient(**client_options(timeout_s), headers=engine.headers, proxy=engine_proxy(engine))


def local_http_client(timeout_s: float) -> httpx.Client:
    """For the arena's services, without an event loop."""
    return httpx.Client(**client_options(timeout_s))


def client_options(timeout_s: float) -> dict[str, Any]:
    """Of any client, the openai SDK's included."""
    return {"timeout": timeout_s, "verify": TLS, "trust_env": False, "follow_redirects": False}


async def read_body(http: httpx.AsyncClient, url: str, within_s: float = 30) -> bytes:
    """What a GET is answered with. Raises httpx.HTTPError for any status but a success, and for an endless answer."""
    body = bytearray()
    try:
        async with asyncio.timeout(within_s), http.stream("GET", url) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > BODY_BYTES:
                    raise httpx.ReadError(f"{url} answers with more than {BODY_BYTES} bytes")
    except TimeoutError as exc:
        raise httpx.ReadTimeout(f"{url} is still answering after {within_s} s") from exc
    return bytes(body)


def engine_proxy(engine: Engine) -> str | None:
    """None for the arena's own engines, which are inside whatever a proxy leads out of."""
    return None if engine.ours else url_proxy(engine.url)


def url_proxy(url: str) -> str | None:
    """What HTTP_PROXY, HTTPS_PROXY and NO_PROXY say of an address that is not this machine's. Raises ConfigError.

    ALL_PROXY is not asked: it mostly names a SOCKS proxy, which neither HTTP library speaks.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if _is_loopback(parts.hostname or "") or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    if not proxy:
        return None
    address = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(address).scheme not in ("http", "https"):
        name = f"{parts.scheme.upper()}_PROXY"
        raise ConfigError(f"{name} is a proxy of another kind than HTTP: add {parts.hostname} to NO_PROXY, or name one")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
