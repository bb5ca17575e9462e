"""Clients for requests that are not timed, TLS and proxies. No proxy is used for the arena's own servers."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from config.errors import ConfigError
from config.topology import Engine

BODY_BYTES = 2**25  # of an answer; a page of metrics has some hundred KiB
TLS = ssl.create_default_context()  # once: loading certificates takes 30 ms, which would be part of every TTFT


def http_client(timeout_s: float, engine: Engine | None = None) -> httpx.AsyncClient:
    """For one engine, with its key and its proxy; or for any services of the arena."""
    if engine is None:
        return httpx.AsyncClient(**client_options(timeout_s))
    return httpx.AsyncClient(**client_options(timeout_s), headers=engine.headers, proxy=engine_proxy(engine))


def local_http_client(timeout_s: float) -> httpx.Client:
    """For the arena's services, without an event loop."""
    return httpx.Client(**client_options(timeout_s))


def client_options(timeout_s: float) -> dict[str, Any]:
    """For every client, the openai SDK's included."""
    return {"timeout": timeout_s, "verify": TLS, "trust_env": False, "follow_redirects": False}


async def read_body(http: httpx.AsyncClient, url: str, within_s: float = 30) -> bytes:
    """The body of a GET's answer. Raises httpx.HTTPError for any status but a success, and for an endless answer."""
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
    """None for the arena's own engines, which are on this side of any proxy."""
    return None if engine.ours else url_proxy(engine.url)


def url_proxy(url: str) -> str | None:
    """The proxy for an address, by HTTP_PROXY, HTTPS_PROXY and NO_PROXY; None for this machine. Raises ConfigError.

    ALL_PROXY is ignored: it mostly names a SOCKS proxy, which neither HTTP library supports.
    """
    parts = urlsplit(url)
    if _is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = getproxies().get(parts.scheme)
    if not proxy:
        return None
    address = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(address).scheme not in ("http", "https"):
        name = f"{parts.scheme.upper()}_PROXY"
        raise ConfigError(f"{name} is not an HTTP proxy: add {parts.hostname} to NO_PROXY, or name an HTTP proxy")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
