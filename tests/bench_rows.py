"""Samples, and a bench that sends nothing, for tests of what is made of them."""

from __future__ import annotations

import itertools
from typing import Any

from bench.run import Ask, Bench
from bench.sample import Sample


def sample(document: int, arm: str, ttft_ms: float | None = 1000.0, **more: Any) -> Sample:
    """A valid one unless a `reason` is given."""
    measured = {} if ttft_ms is None else {"e2el_ms": ttft_ms + 30 * 31, "tpot_ms": 30.0, "itls": (0.03,) * 31}
    usage = {"prompt_tokens": 7000, "completion_tokens": 32, "cached_tokens": 0}
    base = {"engine": "plain-a", "input_len": 7000, "position": 0, "nonce": "00ff", "started_s": 0.0}
    row = {"document": document, "arm": arm, "ttft_ms": ttft_ms, **base, **usage, **measured, **more}
    return Sample.model_validate(row)


def pairs(*ratios: float, of: str = "cross_read", over: str = "cold", slow_ms: float = 8000.0) -> list[Sample]:
    """Documents in which `of` is so many times sooner than `over`."""
    return [
        each
        for document, ratio in enumerate(ratios)
        for each in (sample(document, over, slow_ms), sample(document, of, slow_ms / ratio))
    ]


async def as_it_is(_engine: Any, prompt: Any, _tokens: int) -> Any:
    """Prompts are sent at whatever length they have."""
    return prompt


def a_bench(ask: Ask, **more: Any) -> Bench:
    """Every store is complete at once."""
    counts = itertools.count(step=1000)

    async def stored(_cache: Any) -> int:
        return next(counts)

    return Bench(ask=ask, **{"sized": as_it_is, "stored": stored, **more})
