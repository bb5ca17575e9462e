"""Decodes files given inline, as `data:` addresses or base64, and shortens names for messages."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path
from urllib.parse import unquote_to_bytes

from config.errors import MediaError
from media.limits import Limits

ADDRESS = "the data: address"
MAX_NAME = 80  # characters of a name in a message
BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
MIN_BASE64 = 128  # characters; anything shorter is treated as a file name
URL_SAFE = bytes.maketrans(b"-_", b"+/")


def short_name(words: object) -> str:
    """Returns a name, path or address on one line; the middle of a long one is left out."""
    line = "".join(each if each.isprintable() else "�" for each in str(words))
    return line if len(line) <= MAX_NAME else f"{line[: MAX_NAME // 2]}…{line[1 - MAX_NAME // 2 :]}"


def from_data_url(url: str, limits: Limits) -> bytes:
    """Decodes a `data:` address, with or without base64 (RFC 2397). Raises MediaError if it is invalid or too large."""
    head, comma, body = url.partition(",")
    if not comma:
        raise MediaError(f"{ADDRESS} has no comma, so nothing is in it: give data:TYPE;base64,…")
    limits.check_bytes(ADDRESS, len(body) * 3 // 4 or len(body))
    content = unquote_to_bytes(body)
    if head.rpartition(";")[2].strip().lower() != "base64":
        return content
    decoded = _decode(content)
    if decoded is None:
        raise MediaError(f"{ADDRESS} is not base64: encode it again")
    return decoded


def from_base64(words: str, limits: Limits) -> bytes | None:
    """Decodes plain base64. Returns None if `words` is not base64, or may be a file name.

    Raises MediaError if the content is too large.
    """
    if len(words) < MIN_BASE64 or not words.isascii() or _exists(words):
        return None
    content = _decode(words.encode())
    if content:
        limits.check_bytes("the base64 text", len(content))
    return content


def _decode(text: bytes) -> bytes | None:
    """Decodes base64, also with line breaks, the URL-safe alphabet or wrong padding; returns None for anything else."""
    letters = b"".join(text.split()).translate(URL_SAFE)
    if not BASE64.fullmatch(letters):
        return None
    letters = letters.rstrip(b"=")
    return None if len(letters) % 4 == 1 else b64decode(letters + b"=" * (-len(letters) % 4))


def _exists(words: str) -> bool:
    try:
        return Path(words).exists()
    except (OSError, ValueError):  # the name is too long or has a null character
        return False
