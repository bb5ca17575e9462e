"""HTTP clients for requests that are not timed; TLS and proxies for all. The arena's own servers use no proxy."""

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

BODY_BYTES = 2**25  # limit of a response; a /metrics page has some hundred KiB
TLS = ssl.create_default_context()  # created once: loading certificates takes 30 ms, which every TTFT would include


def http_client(timeout_s: float, engine: Engine | None = None) -> httpx.AsyncClient:
    """Returns a client for one engine, with its key and proxy, or without `engine` for the arena's own services."""
    if engine is None:
        return httpx.AsyncClient(**client_options(timeout_s))
    return httpx.AsyncClient(**client_options(timeout_s), headers=engine.headers, proxy=engine_proxy(engine))


def local_http_client(timeout_s: float) -> httpx.Client:
    """Returns a synchronous client for the arena's own services."""
    return httpx.Client(**client_options(timeout_s))


def client_options(timeout_s: float) -> dict[str, Any]:
    """Returns the options of every client, including the one of the openai SDK. `timeout_s` is in seconds."""
    return {"timeout": timeout_s, "verify": TLS, "trust_env": False, "follow_redirects": False}


async def read_body(http: httpx.AsyncClient, url: str, within_s: float = 30) -> bytes:
    """Returns the body of a GET response.

    Raises httpx.HTTPError for any status but success, for over BODY_BYTES, and after `within_s` seconds.
    """
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
    """Returns the proxy for an engine; None for the arena's own engines, which are reached directly."""
    return None if engine.ours else url_proxy(engine.url)


def url_proxy(url: str) -> str | None:
    """Returns the proxy for an address from HTTP_PROXY, HTTPS_PROXY and NO_PROXY; None for this machine.

    ALL_PROXY is ignored: it usually names a SOCKS proxy, which neither HTTP library supports. Raises ConfigError for a
    proxy that is not an HTTP proxy.
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
