"""Does a result hold what was expected, and is a new one as good as an old one? By intervals, never by points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Finding:
    """`passed` decides the exit code; `says` is one sentence."""

    passed: bool
    says: str


def expected_gain(result: Mapping[str, Any], gain: float) -> Finding:
    """Whether the lower bound of the speed-up is at least `gain`."""
    low = _speedup(result)["ci_low"]
    if low is None:
        return Finding(False, f"expected a gain of {gain:g}, and there is no interval to hold it against")
    return Finding(low >= gain, f"the gain is at least {low:.2f}; {gain:g} was expected")


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Finding:
    """Fails when the whole interval of the new speed-up lies below the old one's.

    The speed-ups are compared and not the times: each is a ratio within one run, so a slower machine does not count as
    a regression. Raises ConfigError for results that say nothing of each other.
    """
    _check_comparable(old, new)
    before, after = _speedup(old), _speedup(new)
    if None in (before["ci_low"], after["ci_low"]):
        return Finding(False, "one of the two has no interval: it takes three documents that count")
    spans = " against ".join(f"{s['median']:.2f} ({s['ci_low']:.2f} to {s['ci_high']:.2f})" for s in (after, before))
    if after["ci_high"] < before["ci_low"]:
        return Finding(False, f"slower: the new speed-up is {spans}")
    if after["ci_low"] > before["ci_high"]:
        return Finding(True, f"faster: the new speed-up is {spans}")
    return Finding(True, f"not distinguishable: the new speed-up is {spans}")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What else differs between two results, for a reader who wonders why."""
    keys = ("model_id", "num_prompts", "output_len", "versions", "host")
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _check_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for key in ("kind", "input_len"):
        if old.get(key) != new.get(key):
            raise ConfigError(
                f"the two cannot be compared: {key} is {old.get(key)} in one, {new.get(key)} in the other"
            )


def _speedup(result: Mapping[str, Any]) -> Mapping[str, Any]:
    comparison = result.get("comparison")
    if not comparison:
        raise ConfigError(f"a result of bench {result.get('kind')} has no speed-up to hold against anything")
    return dict(comparison["speedup"])
