"""Builds prompts: nonce, document, question, in this order, so that prompts about one document share a prefix."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from config.errors import DocumentError
from media import Media

Message = dict[str, Any]
ROLE = "You are a helpful AI assistant."  # SmolLM2 gives worse answers without a role


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question of a conversation and its answer."""

    question: str
    answer: str
    media: tuple[Media, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question about one document.

    The prompt starts with `nonce`. With a new nonce, no KV of any engine or volume can be reused (cold). With the same
    nonce, everything up to the question can be reused. This works because the nonce is in the first block of the
    prompt, and a cache's key for a block depends on all earlier blocks.
    """

    question: str
    document: str = ""
    nonce: str = ""
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    ignore_eos: bool = False
    top_logprobs: int = 0  # number of candidates to report for each token, 0 to 20
    appendix: str = ""  # follows the document, and is kept when that is cut
    no_system_role: bool = False  # put everything in the user's message, for templates without a system role
    media: tuple[Media, ...] = field(default=(), repr=False)  # before the question, so that other questions share them
    turns: tuple[Turn, ...] = field(default=(), repr=False)  # of the conversation so far, oldest first

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise DocumentError("the question is empty: type one")
        for name in ("question", "nonce", "document", "appendix"):
            _check_encodable(name, getattr(self, name))

    @property
    def messages(self) -> list[Message]:
        """The messages of the request, both for the chat endpoint and for /tokenize."""
        system = f"{self.nonce} {ROLE}" if self.nonce else ROLE
        if self.document:
            system += f"\n\nContext:\n{self.document}{self.appendix}"
        spoken: list[Message] = []
        for turn in self.turns:
            spoken += [_user(turn.question, turn.media), {"role": "assistant", "content": turn.answer}]
        spoken.append(_user(self.question, self.media))
        if self.no_system_role:
            return [_opening(system, spoken[0]), *spoken[1:]]
        return [{"role": "system", "content": system}, *spoken]

    def about(self, document: str) -> Prompt:
        """Returns the same prompt with another document."""
        return replace(self, document=document)


def _check_encodable(name: str, text: str) -> None:
    """Raises DocumentError for lone surrogates: from arguments that are not UTF-8, or split characters of a browser."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise DocumentError(f"the {name} is not UTF-8 at character {exc.start + 1}: type it again") from exc


def _user(question: str, media: tuple[Media, ...]) -> Message:
    content = [*(each.part for each in media), {"type": "text", "text": question}] if media else question
    return {"role": "user", "content": content}


def _opening(system: str, first: Message) -> Message:
    """Returns the user's first message with the system text before it."""
    content = first["content"]
    if isinstance(content, str):
        return {"role": "user", "content": f"{system}\n\n{content}"}
    return {"role": "user", "content": [{"type": "text", "text": system}, *content]}


def new_nonce() -> str:
    """Returns 64 random bits as hex, so that no earlier prompt starts with the same text."""
    return secrets.token_hex(8)
