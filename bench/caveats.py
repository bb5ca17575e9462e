"""What a reader of the numbers should know before believing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.sample import Sample
from bench.statistics import instability, outliers

GAP_MS = 10.0  # between client and server clocks; more needs an explanation


def caveats(samples: Sequence[Sample]) -> list[str]:
    """One sentence each; outliers are named, never dropped."""
    arms = dict.fromkeys(sample.arm for sample in samples)
    return [sentence for arm in arms for sentence in _of_arm(arm, [s for s in samples if s.arm == arm and s.valid])]


def _of_arm(arm: str, valid: Sequence[Sample]) -> Iterator[str]:
    ttfts = [s.ttft_ms for s in valid if s.ttft_ms is not None]
    if reason := instability(ttfts):
        yield f"{arm}: unstable, {reason}; more documents or a quieter machine would help"
    if far := outliers(ttfts):
        yield f"{arm}: outliers, counted all the same: document {', '.join(str(valid[i].document) for i in far)}"
    if len(ttfts) > 3 and outliers(ttfts)[:1] == (0,) and ttfts[0] == max(ttfts):
        yield f"{arm}: the first sample is the slowest by far; raise --num-warmups"
    gaps = [
        s.ttft_ms - s.server_queue_ms - s.server_ttft_ms
        for s in valid
        if s.ttft_ms is not None and s.server_queue_ms is not None and s.server_ttft_ms is not None
    ]
    if gaps and median(gaps) > GAP_MS:
        yield (
            f"{arm}: the client's TTFT is {median(gaps):.0f} ms over the engine's queue and TTFT "
            "(HTTP, the chat template and tokenising the prompt)"
        )
