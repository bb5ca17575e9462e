"""A file from the web, bounded in bytes and time, and never from inside a private network.

A name is resolved here, and the very address that was found to be public is connected to, for each redirect anew: a
name server is never asked a second time. So there is no proxy either: it would resolve names by itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread, Timer
from time import monotonic
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from requests import PreparedRequest, Request, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from config.errors import MediaError
from media.data_urls import short_name
from media.limits import Limits

DEADLINE_S = 60.0  # for all of it
CONNECT_S = 10.0
ADDRESSES = 4  # of one name, to be tried
REDIRECTS = 5
CHUNK_BYTES = 64 * 1024
Resolve = Callable[..., Sequence[tuple[Any, ...]]]  # as socket.getaddrinfo
GIVEN_OUT = IPv6Network("2000::/3")  # all of the public internet
NAT64 = IPv6Network("64:ff9b::/96")  # an IPv4 address stands at the end
HEADERS = {"User-Agent": "ttft-arena/0.1", "Accept-Encoding": "identity"}


def download(url: str, limits: Limits, deadline: float = DEADLINE_S, resolve: Resolve = socket.getaddrinfo) -> bytes:
    """The body that `url` answers with, within `deadline` seconds. Raises MediaError."""
    with _PinnedAdapter(limits, deadline, resolve) as line:
        try:
            body = _body(_followed(url, line), limits)
        except (RequestException, HTTPError, OSError, ValueError) as exc:
            if not line.over:
                raise MediaError(
                    f"{short_name(url)} cannot be read ({_why(exc)}): check the address, or give a file"
                ) from exc
            body = b""
    if line.over:
        raise MediaError(
            f"{short_name(url)} did not come within {deadline:g} s: download it yourself, and give the file"
        )
    return body


def _followed(url: str, line: _PinnedAdapter) -> Response:
    """The first answer that is no redirect. Their bodies are not read: requests would, to any length."""
    for _ in range(REDIRECTS + 1):
        response = line.send(_request(url), stream=True, timeout=CONNECT_S, verify=_certificates())
        if not response.is_redirect:
            return response
        response.close()
        url = urljoin(url, response.headers["location"])
    raise MediaError(f"{short_name(url)} redirects more than {REDIRECTS} times: give the address that it ends at")


def _request(url: str) -> PreparedRequest:
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise MediaError(f"{short_name(url)} is neither http:// nor https://: give one of them, or a file")
    return Request("GET", url, headers=HEADERS).prepare()


def _body(response: Response, limits: Limits) -> bytes:
    with response:
        if not response.ok:
            raise MediaError(
                f"{short_name(response.url)} answers HTTP {response.status_code}: check the address, or give a file"
            )
        limits.of_bytes(short_name(response.url), int(response.headers.get("content-length") or 1))
        body = bytearray()
        for piece in response.iter_content(CHUNK_BYTES):
            body += piece
            limits.of_bytes(short_name(response.url), len(body))
    return bytes(body)


def _why(exc: BaseException) -> str:
    """What stood at the beginning: requests and urllib3 wrap it more than once."""
    while exc.__cause__ or exc.__context__:
        exc = exc.__cause__ or exc.__context__ or exc
    return getattr(exc, "strerror", None) or str(exc)


def _certificates() -> str | bool:
    return os.environ.get("REQUESTS_CA_BUNDLE") or True


class _PinnedAdapter(HTTPAdapter):
    """Connects to public addresses only, and cuts all connections at the deadline, whatever a peer still sends."""

    def __init__(self, limits: Limits, deadline: float, resolve: Resolve) -> None:
        super().__init__()
        self._resolve, self._ends = resolve, monotonic() + deadline
        self._inside, self._open = limits.inside, list[socket.socket]()
        self._timer = Timer(deadline, self._cut)
        pools = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
        self.poolmanager.pool_classes_by_scheme = {scheme: self._pool(base) for scheme, base in pools.items()}

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        for each in self._open:
            each.close()
        self.close()

    @property
    def over(self) -> bool:
        """Whether the deadline is."""
        return self._left <= 0

    @property
    def _left(self) -> float:
        return self._ends - monotonic()

    def _pool(self, base: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        """urllib3's, but for whom it connects to."""

        def connect(connection: HTTPConnection) -> socket.socket:
            return self._connect(connection.host, connection.port)

        connection = type("Connection", (base.ConnectionCls,), {"_new_conn": connect})
        return type("Pool", (base,), {"ConnectionCls": connection})

    def _connect(self, host: str, port: int) -> socket.socket:
        addresses = _resolved(lambda: self._resolve(host, port, type=socket.SOCK_STREAM), self._left)
        for address in addresses:
            if host.lower() not in self._inside and not is_public_address(address):
                raise MediaError(
                    f"{short_name(host)} is at {address}, which is not a public address: give a file, "
                    "or name the host in ALLOWED_MEDIA_DOMAINS"
                )
        connected = self._first(addresses[:ADDRESSES], port)
        self._open.append(connected.dup())  # TLS takes the socket over; a duplicate still ends it
        if self.over:
            raise TimeoutError("the deadline is over")
        return connected

    def _first(self, addresses: Sequence[str], port: int) -> socket.socket:
        """Connected to the first that answers in time."""
        failure = OSError("it has no address")
        for address in addresses:
            try:
                return socket.create_connection((address, port), max(0.001, min(CONNECT_S, self._left)))
            except OSError as exc:
                failure = exc
        raise failure

    def _cut(self) -> None:
        for each in self._open:
            with suppress(OSError):  # its peer may have ended it
                each.shutdown(socket.SHUT_RDWR)


def _resolved(resolve: Callable[[], Sequence[tuple[Any, ...]]], seconds: float) -> Sequence[str]:
    """The addresses found, each once. A resolver cannot be stopped: after so many seconds it is left to itself."""
    found = Future[Sequence[tuple[Any, ...]]]()

    def ask() -> None:
        try:
            found.set_result(resolve())
        except (OSError, ValueError) as exc:
            found.set_exception(exc)

    Thread(target=ask, daemon=True).start()
    return list(dict.fromkeys(str(info[4][0]) for info in found.result(seconds)))


def is_public_address(address: str) -> bool:
    """Whether an IP address is anybody's: not of this machine, a private network, a link, or a group.

    One that only wraps another address is what that is.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        end = IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or end or ip
    elsewhere = isinstance(ip, IPv6Address) and ip not in GIVEN_OUT
    return ip.is_global and not ip.is_multicast and not elsewhere
