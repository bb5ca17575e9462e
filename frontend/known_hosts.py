"""Refuses requests to unknown host names, and state-changing requests from other sites' pages.

In DNS rebinding, another site makes its own name resolve to 127.0.0.1, so that its pages can read this page's
answers. The attack needs a host name, so every IP address that the page listens on is accepted. Starlette's
TrustedHostMiddleware checks neither addresses nor origins.
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

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # change nothing, and no other site's page can read their answers


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """`named` are lower-case host names. With `any_address` every IP address is accepted, otherwise only loopback."""

    named: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, settings: Settings) -> AllowedHosts:
        """Allows loopback, BIND_HOST and UI_ALLOWED_HOSTS, and any IP address if the page listens on all of them."""
        bound = _address(settings.bind_host)
        named = frozenset({settings.bind_host.lower(), *settings.allowed_hosts})
        return cls(named, any_address=bound is not None and bound.is_unspecified)

    def know(self, host: str) -> bool:
        """Returns whether a Host header, with or without a port, is allowed."""
        name = _host_name(host)
        if name == "localhost" or name in self.named:
            return True
        address = _address(name)
        return address is not None and (self.any_address or address.is_loopback)

    def refusal(self, scope: Scope) -> PlainTextResponse | None:
        """Returns a 421 or 403 response that names the setting to change, or None if the request is accepted."""
        headers = Headers(scope=scope)
        hosts, origin = headers.getlist("host"), headers.get("origin")
        if len(hosts) != 1 or not self.know(hosts[0]):
            return PlainTextResponse(
                f"This page does not know the host name {', '.join(hosts)[:200] or '(none)'!r}, so it does not answer: "
                "a foreign site may have made that name up. Open the page by its address, or name the host in "
                "UI_ALLOWED_HOSTS (.env) and start the page again.\n",
                421,
            )
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes and origin is not None and not self._is_own(origin, hosts[0]):
            return PlainTextResponse(
                f"This request comes from a page of {origin[:200]!r}, and not from this one, so it is refused. Behind "
                "a proxy that gives the page another host name, name the proxy's in UI_ALLOWED_HOSTS (.env).\n",
                403,
            )
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        """Returns whether the origin is the host of the request or one of the allowed names."""
        try:
            parts = urlsplit(origin)
            place, name = parts.netloc.lower(), parts.hostname or ""
        except ValueError:
            return False
        return bool(place) and (place == host.lower() or name in self.named)


class HostCheckMiddleware:
    """ASGI middleware that checks requests to all routes and websockets."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self.hosts.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await refused(scope, receive, send)


def _host_name(host: str) -> str:
    """Returns the lower-case host without port, brackets and final dot; empty if it is not a valid host."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError if the port is invalid
    except ValueError:
        return ""
    return (parts.hostname or "").removesuffix(".") if parts.netloc == host and "@" not in host else ""


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None
