"""Files given inline, as `data:` addresses or base64; and names that fit into a message."""

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
MIN_BASE64 = 128  # characters; anything shorter is taken for a file's name
URL_SAFE = bytes.maketrans(b"-_", b"+/")


def short_name(words: object) -> str:
    """A name, path or address on one line, without its middle where it is long."""
    line = "".join(each if each.isprintable() else "�" for each in str(words))
    return line if len(line) <= MAX_NAME else f"{line[: MAX_NAME // 2]}…{line[1 - MAX_NAME // 2 :]}"


def from_data_url(url: str, limits: Limits) -> bytes:
    """The content of a `data:` address, with or without base64 (RFC 2397). Raises MediaError."""
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
    """The content of base64 alone; None where `words` is no base64, or may be a file's name.

    Raises MediaError when it is too large.
    """
    if len(words) < MIN_BASE64 or not words.isascii() or _exists(words):
        return None
    content = _decode(words.encode())
    if content:
        limits.check_bytes("the base64 text", len(content))
    return content


def _decode(text: bytes) -> bytes | None:
    """Base64, also with line breaks, in the alphabet for URLs, or padded wrongly; None when it is none."""
    letters = b"".join(text.split()).translate(URL_SAFE)
    if not BASE64.fullmatch(letters):
        return None
    letters = letters.rstrip(b"=")
    return None if len(letters) % 4 == 1 else b64decode(letters + b"=" * (-len(letters) % 4))


def _exists(words: str) -> bool:
    try:
        return Path(words).exists()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False
