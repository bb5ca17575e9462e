"""Refuses requests to host names that the page does not know, and posts that come from other sites' pages.

A web page elsewhere can let its own name resolve to 127.0.0.1, and would then read answers as if they were its own. It
needs a name for that, so addresses are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from config.settings import Settings

SAFE = ("GET", "HEAD", "OPTIONS")  # change nothing, and no other site's page can read their answers
LOOPBACK_NAME = "localhost"


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """`named` are lower-case host names; `any_address` takes every IP address, not only those of loopback."""

    named: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, settings: Settings) -> AllowedHosts:
        """Loopback, BIND_HOST, UI_ALLOWED_HOSTS; where the page listens on all addresses, any address."""
        listens = _address(settings.bind_host)
        named = {settings.bind_host.lower(), *settings.allowed_hosts}
        return cls(frozenset(named), any_address=listens is not None and listens.is_unspecified)

    def know(self, host: str) -> bool:
        """Of a Host header, with or without a port."""
        name = _name(host)
        address = _address(name)
        if name in self.named or name == LOOPBACK_NAME:
            return True
        return address is not None and (self.any_address or address.is_loopback)


class HostCheckMiddleware:
    """ASGI middleware; what is refused gets 421 or 403 with words that name the setting."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = _fault(scope, self.hosts) if scope["type"] in ("http", "websocket") else None
        if fault is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await fault(scope, receive, send)


def _fault(scope: Scope, hosts: AllowedHosts) -> PlainTextResponse | None:
    headers = Headers(scope=scope)
    given = headers.getlist("host")
    if len(given) != 1 or not hosts.know(given[0]):
        return PlainTextResponse(
            f"This page does not know the host name {', '.join(given)[:200] or '(none)'!r}, so it does not answer: a "
            "foreign site may have made that name up. Open the page by its address, or name the host in "
            "UI_ALLOWED_HOSTS (.env) and start the page again.\n",
            421,
        )
    origin = headers.get("origin")
    changes = scope["type"] == "websocket" or scope["method"] not in SAFE
    if changes and origin is not None and not _same(origin, given[0], hosts):
        return PlainTextResponse(
            f"This request comes from a page of {origin[:200]!r}, and not from this one, so it is refused. Behind a "
            "proxy that gives the page another host name, name the proxy's in UI_ALLOWED_HOSTS (.env).\n",
            403,
        )
    return None


def _same(origin: str, host: str, hosts: AllowedHosts) -> bool:
    """Whether a page of this origin is ours: its host is that of the request, or was named."""
    try:
        parts = urlsplit(origin)
        place, name = parts.netloc.lower(), parts.hostname or ""
    except ValueError:
        return False
    return bool(place) and (place == host.lower() or name in hosts.named)


def _name(host: str) -> str:
    """Without port, brackets and a final dot, in lower case; empty for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.netloc != host or "@" in host:
        return ""
    return (parts.hostname or "").removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None
