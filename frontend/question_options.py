"""A question's settings and text, validated here whether they come from the page, a link or the API."""

from __future__ import annotations

from dataclasses import dataclass

from config.errors import DocumentError

MAX_TOKENS, LONGEST_ANSWER = 64, 1024  # tokens of an answer: the default and the maximum
HOTTEST, LAST_SEED = 2.0, 2**31 - 1
QUESTION_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class QuestionOptions:
    """The controls under "More", and whether the document is sent."""

    max_tokens: int = MAX_TOKENS
    temperature: float = 0.0
    seed: int = 0
    cut: bool = False  # shorten the document to fit the model's context
    follow: bool = True  # also send the conversation so far
    document: bool = True

    @classmethod
    def of(cls, max_tokens: object, temperature: object, seed: object, cut: bool, follow: bool) -> QuestionOptions:
        """Takes values from controls (None if emptied) or a link; invalid or out-of-range ones become the defaults."""
        return cls(
            int(_within(max_tokens, 1, LONGEST_ANSWER, MAX_TOKENS)),
            _within(temperature, 0, HOTTEST, 0),
            int(_within(seed, 0, LAST_SEED, 0)),
            cut,
            follow,
        )


DEFAULT_OPTIONS = QuestionOptions()


def checked_question(question: str) -> str:
    """Returns the question as valid UTF-8. Raises DocumentError if it is empty or too long."""
    if not question.strip():
        raise DocumentError("the question is empty: type one")
    if len(question) > QUESTION_CHARACTERS:
        raise DocumentError(
            f"the question has {len(question):,} characters, over the limit of {QUESTION_CHARACTERS:,}: "
            "bring the text as a document"
        )
    return question.encode("utf-8", "replace").decode()


def _within(value: object, low: float, high: float, default: float) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return default
    return number if low <= number <= high else default
