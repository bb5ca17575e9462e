"""Checks and normalizes server addresses: `--base-url`, ENGINE_URL and CACHE_URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx


def normalize_url(address: str, **names: object) -> str:
    """Returns `http://host:port` and the path, without a final `/v1` or slash.

    With `names`, the address is a template that may contain them in braces, and the result is a template too.
    Raises ValueError for anything that is not an http or https address.
    """
    url = address.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        _check(url.format(**names) if names else url)
    except (LookupError, AttributeError) as exc:
        raise ValueError(f"takes {' and '.join(f'{{{name}}}' for name in names)}, and no other braces") from exc
    return url


def url_port(url: str) -> int:
    """Returns the port of a normalized address: 443 or 80 if it names none."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        valid = False
    if not valid or not url.isprintable() or " " in url or parts.query or parts.fragment:
        raise ValueError("is not an http address: give http://host:port")
