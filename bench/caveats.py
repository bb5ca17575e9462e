"""What a reader of the numbers should know before believing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.sample import Sample
from bench.statistics import instability, outliers

GAP_MS = 10.0  # between client and server clocks; more needs an explanation


Kind = tuple[str, list[Sample]]  # the valid samples of one arm and length, with what to call them


def caveats(samples: Sequence[Sample]) -> list[str]:
    """One sentence each; outliers are named, never dropped."""
    kinds = _kinds(samples)
    return [*(sentence for name, valid in kinds for sentence in _spread(name, valid)), *_gap(kinds)]


def untold(samples: Sequence[Sample]) -> list[str]:
    """Of a server that is believed to be cold where the nonce is new, for it says nothing of its cache."""
    return [
        f"{name}: the server does not tell how many tokens were cached; that it went its way rests on the nonce"
        for name, valid in _kinds(samples)
        if valid and all(s.cached_tokens is None for s in valid)
    ]


def _kinds(samples: Sequence[Sample]) -> list[Kind]:
    found = dict.fromkeys((s.arm, s.input_len) for s in samples)
    several = len({length for _, length in found}) > 1
    return [
        (
            f"{arm}, {length:,} tokens" if several and length else arm,
            [s for s in samples if (s.arm, s.input_len) == (arm, length) and s.valid],
        )
        for arm, length in found
    ]


def _spread(name: str, valid: Sequence[Sample]) -> Iterator[str]:
    ttfts = [s.ttft_ms for s in valid if s.ttft_ms is not None]
    if reason := instability(ttfts):
        yield f"{name}: unstable, {reason}; more documents or a quieter machine would help"
    if far := outliers(ttfts):
        yield f"{name}: outliers, counted all the same: document {', '.join(str(valid[i].document) for i in far)}"
    if len(ttfts) > 3 and outliers(ttfts)[:1] == (0,) and ttfts[0] == max(ttfts):
        yield f"{name}: the first sample is the slowest by far; raise --num-warmups"
    if bursts := sum(s.in_one_burst for s in valid):
        yield (
            f"{name}: {bursts} of {len(valid)} answers came in one burst, so their first token was handed on late: "
            "by an engine that waited for a core, or by what lies between it and this client"
        )


def _gap(kinds: Sequence[Kind]) -> Iterator[str]:
    """One cause, one sentence, whatever the arm."""
    gaps = {name: overhead_ms(valid) for name, valid in kinds}
    large = {name: gap for name, gap in gaps.items() if gap is not None and gap > GAP_MS}
    if large:
        most = max(large, key=large.__getitem__)
        yield (
            f"the client's TTFT is up to {large[most]:.0f} ms ({most}; median) over the engine's own queue and TTFT: "
            "HTTP, the chat template, tokenising, and handing the first token on"
        )


def overhead_ms(samples: Sequence[Sample]) -> float | None:
    """Median of the client's TTFT less the server's queue and TTFT; None where no server told."""
    gaps = [
        s.ttft_ms - s.server_queue_ms - s.server_ttft_ms
        for s in samples
        if s.ttft_ms is not None and s.server_queue_ms is not None and s.server_ttft_ms is not None
    ]
    return median(gaps) if gaps else None
