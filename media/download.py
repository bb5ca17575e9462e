"""Downloads a file from the web, with limits for bytes and time, and never from a private network unless allowed.

Host names are resolved here, again for each redirect, and a connection is opened only to an address that was found to
be public; the name is not resolved a second time. No proxy is used, because a proxy would resolve names itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread
from typing import Any
from urllib.parse import urljoin, urlsplit

from aiohttp import (
    AddrInfoType,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from yarl import URL

from config.errors import MediaError
from media.data_urls import short_name
from media.limits import Limits

DEADLINE_S = 60.0  # for the whole download, including redirects
CONNECT_S = 10.0
MAX_ADDRESSES = 4  # to try for one host name
MAX_REDIRECTS = 5
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
CHUNK_BYTES = 64 * 1024
PUBLIC_IPV6 = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")  # its last 32 bits are an IPv4 address
HEADERS = {"User-Agent": "ttft-arena/0.1", "Accept-Encoding": "identity"}

GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]  # like socket.getaddrinfo


def download(
    url: str, limits: Limits, deadline: float = DEADLINE_S, getaddrinfo: GetAddrInfo = socket.getaddrinfo
) -> bytes:
    """Returns the content at `url`. Raises MediaError, also after `deadline` seconds.

    Must not be called from a running event loop.
    """
    return asyncio.run(_within(url, limits, deadline, getaddrinfo))


async def _within(url: str, limits: Limits, deadline: float, getaddrinfo: GetAddrInfo) -> bytes:
    try:
        async with asyncio.timeout(deadline) as timeout:
            return await _follow(url, limits, getaddrinfo)
    except (ClientError, OSError, ValueError) as exc:
        if timeout.expired():
            message = f"{short_name(url)} did not come within {deadline:g} s: download it yourself, and give the file"
        else:
            message = f"{short_name(url)} cannot be read ({_reason(exc)}): check the address, or give a file"
        raise MediaError(message) from exc


async def _follow(url: str, limits: Limits, getaddrinfo: GetAddrInfo) -> bytes:
    """Returns the body of the first response that is not a redirect; bodies of redirects are not read."""
    certificates = _certificates()
    for _ in range(MAX_REDIRECTS + 1):
        if urlsplit(url).scheme.lower() not in ("http", "https"):
            raise MediaError(f"{short_name(url)} is neither http:// nor https://: give one of them, or a file")
        connector = TCPConnector(
            resolver=_PublicResolver(limits.allowed_hosts, getaddrinfo),
            socket_factory=partial(_open_socket, URL(url).host or "", limits.allowed_hosts),
            happy_eyeballs_delay=None,
            ssl=certificates,
        )
        timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=CONNECT_S)
        async with (
            ClientSession(
                connector=connector, timeout=timeout, headers=HEADERS, cookie_jar=DummyCookieJar()
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status not in REDIRECT_STATUSES or "Location" not in response.headers:
                return await _body(response, limits)
            url = urljoin(url, response.headers["Location"])
    raise MediaError(f"{short_name(url)} redirects more than {MAX_REDIRECTS} times: give the address that it ends at")


async def _body(response: ClientResponse, limits: Limits) -> bytes:
    name = short_name(response.url)
    if not response.ok:
        raise MediaError(f"{name} answers HTTP {response.status}: check the address, or give a file")
    if response.content_length is not None:
        limits.check_bytes(name, response.content_length)
    body = bytearray()
    async for piece in response.content.iter_chunked(CHUNK_BYTES):
        body += piece
        limits.check_bytes(name, len(body))
    return bytes(body)


def _reason(exc: Exception) -> str:
    """Returns the error's message on one line."""
    if isinstance(exc, OSError) and exc.errno and exc.errno > 0:
        return os.strerror(exc.errno)
    return short_name(" ".join(str(getattr(exc, "strerror", None) or exc).split()) or type(exc).__name__)


def _certificates() -> ssl.SSLContext:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
    if os.path.isdir(bundle):
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


class _PublicResolver(AbstractResolver):
    """Resolves host names. Raises MediaError for a host with any address that is not public, unless it is `allowed`."""

    def __init__(self, allowed: Collection[str], getaddrinfo: GetAddrInfo) -> None:
        self._allowed, self._getaddrinfo = allowed, getaddrinfo

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        infos = await _in_daemon_thread(partial(self._getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family))
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        for address in addresses:
            _check_public(host, address, self._allowed)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in addresses[:MAX_ADDRESSES]
        ]

    async def close(self) -> None:
        pass


async def _in_daemon_thread(call: Callable[[], Sequence[tuple[Any, ...]]]) -> Sequence[tuple[Any, ...]]:
    """Returns the result of `call`. Name resolution cannot be cancelled: its thread may outlive the deadline."""
    found = Future[Sequence[tuple[Any, ...]]]()
    found.set_running_or_notify_cancel()

    def run() -> None:
        try:
            found.set_result(call())
        except (OSError, ValueError) as exc:
            found.set_exception(exc)

    Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(found)


def _open_socket(host: str, allowed: Collection[str], info: AddrInfoType) -> socket.socket:
    """Checks the address of every connection, because for an IP address in the URL the resolver is not called."""
    _check_public(host, str(info[4][0]), allowed)
    return socket.socket(*info[:3])


def _check_public(host: str, address: str, allowed: Collection[str]) -> None:
    if host.lower() not in allowed and not is_public_address(address):
        raise MediaError(
            f"{short_name(host)} is at {address}, which is not a public address: give a file, or name the host in "
            "ALLOWED_MEDIA_DOMAINS"
        )


def is_public_address(address: str) -> bool:
    """Returns whether an IP address is on the public internet: not loopback, private, link-local or multicast.

    For IPv4-mapped, 6to4 and NAT64 addresses, the embedded IPv4 address decides.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        nat64 = IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or nat64 or ip
    if isinstance(ip, IPv6Address) and ip not in PUBLIC_IPV6:
        return False
    return ip.is_global and not ip.is_multicast
