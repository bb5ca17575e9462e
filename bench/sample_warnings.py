"""Warnings that a reader should see before trusting the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.sample import Sample
from bench.statistics import FAR, SPREAD, has_extremes, outliers, spread

GAP_MS = 10.0  # of client TTFT over the engine's own times; a larger gap gets a warning
HELP = "more documents or a quieter machine would help"

NamedSamples = tuple[str, list[Sample]]  # the name of one arm and length, and its valid samples


def sample_warnings(samples: Sequence[Sample]) -> list[str]:
    """One sentence for each kind of warning, naming the arms concerned. Outliers are reported, never dropped."""
    return warnings_of_arm(_by_arm(samples))


def warnings_of_arm(arms: Sequence[NamedSamples]) -> list[str]:
    """The warnings of `sample_warnings` for samples that are already grouped by arm."""
    found = (warning(arms) for warning in (_unstable, _extremes, _outliers, _slow_start, _bursts, _gap))
    return [sentence for sentence in found if sentence]


def source_unknown_warnings(samples: Sequence[Sample]) -> list[str]:
    """Warns if a server does not report cached tokens: then only the new nonce shows that a document was cold."""
    silent = [name for name, valid in _by_arm(samples) if valid and all(s.cached_tokens is None for s in valid)]
    text = "the server does not report how many tokens were cached; that these were cold rests on the nonce"
    return [_about(text, silent)] if silent else []


def _by_arm(samples: Sequence[Sample]) -> list[NamedSamples]:
    found = dict.fromkeys((s.arm, s.input_len) for s in samples)
    several = len({length for _, length in found}) > 1
    return [
        (
            f"{arm}, {length:,} tokens" if several and length else arm,
            [s for s in samples if (s.arm, s.input_len) == (arm, length) and s.valid],
        )
        for arm, length in found
    ]


def _about(text: str, arms: Sequence[str]) -> str:
    """The warning with the arms concerned; empty if there are none."""
    return f"{text}: {'; '.join(arms)}" if arms else ""


def _unstable(arms: Sequence[NamedSamples]) -> str:
    found = [(name, spread(_ttfts(valid))) for name, valid in arms]
    wide = [f"{name} {share:.0%}" for name, share in found if share >= SPREAD]
    return _about(f"unstable, the standard deviation is {SPREAD:.0%} of the mean or more ({HELP})", wide)


def _extremes(arms: Sequence[NamedSamples]) -> str:
    """Leaves out arms that `_unstable` already reports."""
    found = [(name, _ttfts(valid)) for name, valid in arms]
    far = [name for name, ttfts in found if spread(ttfts) < SPREAD and has_extremes(ttfts)]
    return _about(f"unstable, the extremes are more than {FAR:.0%} away from the mean ({HELP})", far)


def _outliers(arms: Sequence[NamedSamples]) -> str:
    found = {name: [str(valid[i].document) for i in outliers(_ttfts(valid))] for name, valid in arms}
    far = [f"{name}, document {', '.join(documents)}" for name, documents in found.items() if documents]
    return _about("outliers, counted all the same", far)


def _slow_start(arms: Sequence[NamedSamples]) -> str:
    found = [(name, _ttfts(valid)) for name, valid in arms]
    slow = [name for name, ttfts in found if len(ttfts) > 3 and outliers(ttfts)[:1] == (0,) and ttfts[0] == max(ttfts)]
    return _about("the first sample is the slowest by far, so raise --num-warmups", slow)


def _bursts(arms: Sequence[NamedSamples]) -> str:
    counts = [(name, sum(s.in_one_burst for s in valid), len(valid)) for name, valid in arms]
    text = (
        "answers came in one burst, so their first token was handed on late, by an engine that waited for a core, or "
        "by what lies between it and this client"
    )
    return _about(text, [f"{name} {bursts} of {n}" for name, bursts, n in counts if bursts])


def _gap(arms: Sequence[NamedSamples]) -> str:
    gaps = {name: overhead_ms(valid) for name, valid in arms}
    large = {name: gap for name, gap in gaps.items() if gap is not None and gap > GAP_MS}
    if not large:
        return ""
    most = max(large, key=large.__getitem__)
    return (
        f"the client's TTFT is up to {large[most]:.0f} ms ({most}; median) over the engine's own queue and TTFT: "
        "HTTP, the chat template, tokenising, and handing the first token on"
    )


def _ttfts(valid: Sequence[Sample]) -> list[float]:
    return [s.ttft_ms for s in valid if s.ttft_ms is not None]


def overhead_ms(samples: Sequence[Sample]) -> float | None:
    """Median of the client's TTFT minus the server's queue time and TTFT, in ms; None if no server reports them."""
    gaps = [
        s.ttft_ms - s.server_queue_ms - s.server_ttft_ms
        for s in samples
        if s.ttft_ms is not None and s.server_queue_ms is not None and s.server_ttft_ms is not None
    ]
    return median(gaps) if gaps else None
