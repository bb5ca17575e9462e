"""A link that restores question, document and settings. It names a document, and never carries one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from frontend.question_options import DEFAULT_OPTIONS, QuestionOptions

LONGEST = 2000  # characters of a question in a link


@dataclass(frozen=True, slots=True)
class ShareLink:
    """What stands in the page's controls."""

    question: str = ""
    target: str = "all"
    document: str = ""
    choices: QuestionOptions = DEFAULT_OPTIONS

    @property
    def fits(self) -> bool:
        """Whether the question is short enough for an address."""
        return len(self.question) <= LONGEST

    @classmethod
    def read(cls, query: Mapping[str, str]) -> ShareLink:
        """From the address; what does not belong there, or is out of range, is the default."""
        return cls(
            query.get("q", "")[:LONGEST],
            query.get("on", "all"),
            query.get("doc", "")[:200],
            QuestionOptions.of(
                query.get("max_tokens"),
                query.get("temperature"),
                query.get("seed"),
                cut=query.get("cut") == "1",
                follow=query.get("follow") != "0",
            ),
        )

    def query(self) -> str:
        """Starts with `?`; defaults are left out."""
        default = _given(ShareLink())
        return "?" + urlencode({key: value for key, value in _given(self).items() if value != default[key]})


def _given(link: ShareLink) -> dict[str, object]:
    choices = link.choices
    return {
        "q": link.question,
        "on": link.target,
        "doc": link.document,
        "max_tokens": choices.max_tokens,
        "temperature": choices.temperature,
        "seed": choices.seed,
        "cut": int(choices.cut),
        "follow": int(choices.follow),
    }
