"""The prompts of every question about text: the handbook after a nonce."""

from __future__ import annotations

from collections.abc import Callable

from bench.options import QUESTION, Options
from client.documents import HANDBOOK, read_document
from client.prompt import Prompt


def handbook_prompts(options: Options) -> Callable[[str], Prompt]:
    """The handbook after a nonce; the answer always has `output_len` tokens."""
    handbook = read_document(HANDBOOK)
    return lambda nonce: Prompt(QUESTION, handbook, nonce, options.output_len, ignore_eos=True)
