"""A link that restores the question, document and settings. It has the document's name, never its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from frontend.question_options import DEFAULT_OPTIONS, QuestionOptions

MAX_QUESTION = 2000  # characters of a question in a link
MAX_NAME = 200  # characters of a document's name


@dataclass(frozen=True, slots=True)
class ShareLink:
    """The values of the page's controls that a link restores."""

    question: str = ""
    target: str = "all"
    document: str = ""
    options: QuestionOptions = DEFAULT_OPTIONS

    @property
    def fits(self) -> bool:
        """Whether the question is short enough for a URL."""
        return len(self.question) <= MAX_QUESTION

    @classmethod
    def read(cls, query: Mapping[str, str]) -> ShareLink:
        """Reads a link's query parameters; unknown or out-of-range values become the defaults."""
        options = QuestionOptions.of(
            query.get("max_tokens"),
            query.get("temperature"),
            query.get("seed"),
            cut=query.get("cut") == "1",
            follow=query.get("follow") != "0",
        )
        return cls(query.get("q", "")[:MAX_QUESTION], query.get("on", "all"), query.get("doc", "")[:MAX_NAME], options)

    def query(self) -> str:
        """Returns the query string, with its `?`; defaults are omitted."""
        default = NO_LINK._parameters()
        return "?" + urlencode({key: value for key, value in self._parameters().items() if value != default[key]})

    def _parameters(self) -> dict[str, object]:
        options = self.options
        return {
            "q": self.question,
            "on": self.target,
            "doc": self.document,
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "seed": options.seed,
            "cut": int(options.cut),
            "follow": int(options.follow),
        }


NO_LINK = ShareLink()
