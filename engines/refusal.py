"""What vLLM says of media that it does not take, and what to do about it."""

from __future__ import annotations

import json
import re

NEXT_STEPS = {
    "may be provided in one prompt": "give fewer, or choose a MODEL that takes them",
    "is not a multimodal model": "choose a MODEL that takes media",
    "one of the allowed domains": "name the host in ALLOWED_MEDIA_DOMAINS, or send the file itself",
}
NOT_TAKEN = re.compile(r"HTTP 4\d\d: .*(may be provided in one prompt|is not a multimodal model)")


def next_step(said: str) -> str:
    """Empty where the words are not known."""
    return next((step for words, step in NEXT_STEPS.items() if words in said), "")


def told(status: int, said: str) -> str:
    """What was said, with the next step where its words are known."""
    step = next_step(said)
    return f"HTTP {status}: {said.rstrip('.')}: {step}" if step else f"HTTP {status}: {said}"


def message(body: str) -> str:
    """The words of an error's JSON, or of what stands in its place."""
    try:
        said = json.loads(body)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        said = body
    return str(said)[:300]


def says_not_taken(refused: str) -> bool:
    """Whether the words of an EngineRefused are that the model does not take such media, and not that it failed."""
    return NOT_TAKEN.search(refused) is not None
