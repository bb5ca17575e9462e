"""A link that restores question, document and settings. It names a document, and never carries one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from frontend.visitor import MAX_TOKENS

TARGETS = ("all", "lmcache", "plain")  # and every engine's name
LONGEST = 2000  # characters of a question in a link


@dataclass(frozen=True, slots=True)
class Link:
    """What stands in the page's controls."""

    question: str = ""
    target: str = "all"
    document: str = ""
    max_tokens: int = MAX_TOKENS
    temperature: float = 0.0
    seed: int = 0

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Link:
        """From the address; what does not belong there, or is out of range, is the default."""
        return cls(
            question=query.get("q", "")[:LONGEST],
            target=query.get("on", "all"),
            document=query.get("doc", "")[:200],
            max_tokens=int(_number(query, "max_tokens", MAX_TOKENS, 1, 4096)),
            temperature=_number(query, "temperature", 0.0, 0, 2),
            seed=int(_number(query, "seed", 0, 0, 2**31)),
        )

    def query(self) -> str:
        """Starts with `?`; defaults are left out."""
        given = {
            "q": self.question[:LONGEST],
            "on": self.target,
            "doc": self.document,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        left_out = {"q": "", "on": "all", "doc": "", "max_tokens": MAX_TOKENS, "temperature": 0, "seed": 0}
        return "?" + urlencode({key: value for key, value in given.items() if value != left_out[key]})


def _number(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(query.get(name, default))
    except ValueError:
        return default
    return value if low <= value <= high else default
