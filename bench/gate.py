"""Does a result hold what was expected, and is a new one as good as an old one? By intervals, never by points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engines.errors import ConfigError

COMPARED = "ttft, aa, decode and peer"


@dataclass(frozen=True, slots=True)
class Finding:
    """`passed` decides the exit code; `says` is one sentence."""

    passed: bool
    says: str


def expected_gain(result: Mapping[str, Any], gain: float) -> Finding:
    """Whether the lower bound of the speed-up is at least `gain`."""
    low = _speedup(result)["ci_low"]
    if not _claims(result):
        low = None
    if low is None:
        return Finding(False, f"a gain of {gain:g} was expected, and this result makes no claim")
    return Finding(low >= gain, f"the gain is at least {low:.2f}; {gain:g} was expected")


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Finding:
    """Fails when the whole interval of the new speed-up lies below the old one's.

    The speed-ups are compared and not the times: each is a ratio within one run, so a slower machine does not count as
    a regression. Raises ConfigError for results that say nothing of each other.
    """
    _check_comparable(old, new)
    for name, result in (("old", old), ("new", new)):
        if not _claims(result):
            return Finding(False, f"the {name} result makes no claim, or is not complete")
    before, after = _speedup(old), _speedup(new)
    spans = " against ".join(f"{s['median']:.2f} ({s['ci_low']:.2f} to {s['ci_high']:.2f})" for s in (after, before))
    if after["ci_high"] < before["ci_low"]:
        return Finding(False, f"a smaller gain: the speed-up is {spans}")
    if after["ci_low"] > before["ci_high"]:
        return Finding(True, f"a larger gain: the speed-up is {spans}")
    return Finding(True, f"not distinguishable: the speed-up is {spans}")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What else differs between two results, for a reader who wonders why."""
    keys = ("model_id", "num_prompts", "output_len", "versions", "host")
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def as_json(findings: Sequence[Finding], differences: Sequence[str]) -> dict[str, Any]:
    """`passed` when all did."""
    return {
        "passed": all(finding.passed for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "differences": list(differences),
    }


def _check_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for result in (old, new):
        _speedup(result)
    questions = [{**result, **result["comparison"]} for result in (old, new)]
    for key in ("kind", "input_len", "of", "over"):
        was, now = (question.get(key) for question in questions)
        if was != now:
            raise ConfigError(f"the two cannot be compared: {key} is {was} in one, {now} in the other")


def _claims(result: Mapping[str, Any]) -> bool:
    return bool(result.get("complete")) and result["comparison"].get("verdict") != "no claim"


def _speedup(result: Mapping[str, Any]) -> Mapping[str, Any]:
    comparison = result.get("comparison")
    if not comparison:
        raise ConfigError(
            f"a result of bench {result.get('kind')} has no single speed-up: compare takes those of {COMPARED}"
        )
    return dict(comparison["speedup"])
