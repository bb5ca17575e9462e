"""Files that are given in the words themselves, as `data:` addresses or base64; and names that fit into a message."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path
from urllib.parse import unquote_to_bytes

from config.errors import MediaError
from media.limits import Limits

ADDRESS = "the data: address"
NAME = 80  # characters of a name in a message
BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
BARE = 128  # characters that are taken for base64 where no file has that name
URL_SAFE = bytes.maketrans(b"-_", b"+/")


def short_name(words: object) -> str:
    """A name, path or address on one line, its middle left out where it is long."""
    line = "".join(each if each.isprintable() else "�" for each in str(words))
    return line if len(line) <= NAME else f"{line[: NAME // 2]}…{line[1 - NAME // 2 :]}"


def from_data_url(url: str, limits: Limits) -> bytes:
    """What a `data:` address holds, with or without base64 (RFC 2397). Raises MediaError."""
    head, comma, body = url.partition(",")
    if not comma:
        raise MediaError(f"{ADDRESS} has no comma, so nothing is in it: give data:TYPE;base64,…")
    limits.of_bytes(ADDRESS, len(body) * 3 // 4 or len(body))
    content = unquote_to_bytes(body)
    if head.rpartition(";")[2].strip().lower() != "base64":
        return content
    decoded = _decoded(content)
    if decoded is None:
        raise MediaError(f"{ADDRESS} is not base64: encode it again")
    return decoded


def from_base64(words: str, limits: Limits) -> bytes | None:
    """The content of base64 without an address before it; None where it is none, or might be a file's name.

    Raises MediaError for too much of it.
    """
    if len(words) < BARE or not words.isascii() or _is_there(words):
        return None
    content = _decoded(words.encode())
    if content:
        limits.of_bytes("the base64 text", len(content))
    return content


def _decoded(text: bytes) -> bytes | None:
    """Of base64 with line breaks, in the alphabet for URLs, or padded wrongly; None when it is none."""
    letters = b"".join(text.split()).translate(URL_SAFE)
    if not BASE64.fullmatch(letters):
        return None
    letters = letters.rstrip(b"=")
    return None if len(letters) % 4 == 1 else b64decode(letters + b"=" * (-len(letters) % 4))


def _is_there(words: str) -> bool:
    try:
        return Path(words).exists()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False
