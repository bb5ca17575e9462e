"""Text of others for a terminal, which takes escape sequences for orders: to move, to recolour, to set a title."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """The text with every control and direction character written out, as `\\x1b`, but for newlines and tabs."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs"):
        return character
    if character in "\u200c\u200d":  # join letters and emoji
        return character
    return character.encode("unicode_escape").decode()
