"""Makes untrusted text safe to print: a terminal would execute escape sequences in it."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Escapes control, direction and surrogate characters, for example as `\\x1b`; keeps newlines and tabs."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character in "\n\t\u200c\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs"):
        return character  # U+200C and U+200D join letters and emoji
    return character.encode("unicode_escape").decode()
