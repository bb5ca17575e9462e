"""What a reader of the numbers should know before believing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.sample import Sample
from bench.statistics import instability, outliers

GAP_MS = 10.0  # between client and server clocks; more needs an explanation


def caveats(samples: Sequence[Sample]) -> list[str]:
    """One sentence each; outliers are named, never dropped."""
    kinds = dict.fromkeys((s.arm, s.input_len) for s in samples)
    several = len({length for _, length in kinds}) > 1
    return [
        sentence
        for arm, length in kinds
        for sentence in _of_arm(
            f"{arm}, {length:,} tokens" if several and length else arm,
            [s for s in samples if (s.arm, s.input_len) == (arm, length) and s.valid],
        )
    ]


def _of_arm(arm: str, valid: Sequence[Sample]) -> Iterator[str]:
    ttfts = [s.ttft_ms for s in valid if s.ttft_ms is not None]
    if reason := instability(ttfts):
        yield f"{arm}: unstable, {reason}; more documents or a quieter machine would help"
    if far := outliers(ttfts):
        yield f"{arm}: outliers, counted all the same: document {', '.join(str(valid[i].document) for i in far)}"
    if len(ttfts) > 3 and outliers(ttfts)[:1] == (0,) and ttfts[0] == max(ttfts):
        yield f"{arm}: the first sample is the slowest by far; raise --num-warmups"
    if valid and all(s.cached_tokens is None for s in valid):
        yield f"{arm}: the server does not tell how many tokens were cached; that it went its way rests on the nonce"
    if bursts := sum(s.in_one_burst for s in valid):
        yield (
            f"{arm}: {bursts} of {len(valid)} answers came in one burst, so their first token was handed on late; "
            "the engine's processes were waiting for a core"
        )
    gaps = [
        s.ttft_ms - s.server_queue_ms - s.server_ttft_ms
        for s in valid
        if s.ttft_ms is not None and s.server_queue_ms is not None and s.server_ttft_ms is not None
    ]
    if gaps and median(gaps) > GAP_MS:
        yield (
            f"{arm}: the client's TTFT is {median(gaps):.0f} ms over the engine's own queue and TTFT (median): "
            "HTTP, the chat template, tokenising, and handing the first token on"
        )
