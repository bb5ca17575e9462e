"""Does a result hold what was expected, and is a new one as good as an old one? By intervals, never by points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.report.result_fields import fields, number
from config.errors import ConfigError

COMPARABLE_KINDS = "ttft, aa, decode and peer"


@dataclass(frozen=True, slots=True)
class RegressionOutcome:
    """`passed` decides the exit code; `says` is one sentence."""

    passed: bool
    says: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """A speed-up and the ends of its interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def check_expected_gain(result: Mapping[str, Any], gain: float) -> RegressionOutcome:
    """Whether the lower bound of the speed-up is at least `gain`."""
    claim = _claim(result)
    if claim is None:
        return RegressionOutcome(False, f"a gain of {gain:g} was expected, and this result makes no claim")
    return RegressionOutcome(claim.low >= gain, f"the gain is at least {claim.low:.2f}; {gain:g} was expected")


def compare_results(old: Mapping[str, Any], new: Mapping[str, Any]) -> RegressionOutcome:
    """Fails when the whole interval of the new speed-up lies below the old one's.

    The speed-ups are compared and not the times: each is a ratio within one run, so a slower machine does not count as
    a regression. Raises ConfigError for results that say nothing of each other.
    """
    _check_comparable(old, new)
    before, after = _claim(old), _claim(new)
    if before is None or after is None:
        flawed = "old" if before is None else "new"
        return RegressionOutcome(False, f"the {flawed} result makes no claim, or is not complete")
    if after.high < before.low:
        return RegressionOutcome(False, f"a smaller gain: the speed-up is {after} against {before}")
    if after.low > before.high:
        return RegressionOutcome(True, f"a larger gain: the speed-up is {after} against {before}")
    return RegressionOutcome(True, f"not distinguishable: the speed-up is {after} against {before}")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What else differs between two results, for a reader who wonders why."""
    keys = ("model_id", "num_prompts", "output_len", "versions", "host")
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def comparison_json(findings: Sequence[RegressionOutcome], differences: Sequence[str]) -> dict[str, Any]:
    """`passed` when all did."""
    return {
        "passed": all(finding.passed for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "differences": list(differences),
    }


def _check_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    questions = [{**result, **_comparison(result)} for result in (old, new)]
    for key in ("kind", "input_len", "of", "over"):
        was, now = (question.get(key) for question in questions)
        if was != now:
            raise ConfigError(f"the two cannot be compared: {key} is {was} in one, {now} in the other")


def _claim(result: Mapping[str, Any]) -> _Claim | None:
    """The speed-up with its interval; None of a result that makes no claim, is not complete, or lacks a number."""
    comparison = _comparison(result)
    speedup = fields(comparison, "speedup")
    median, low, high = (number(speedup, name) for name in ("median", "ci_low", "ci_high"))
    claims = result.get("complete") is True and comparison.get("verdict") != "no claim"
    if not claims or median is None or low is None or high is None:
        return None
    return _Claim(median, low, high)


def _comparison(result: Mapping[str, Any]) -> Mapping[str, Any]:
    if comparison := fields(result, "comparison"):
        return comparison
    raise ConfigError(
        f"a result of bench {result.get('kind')} has no single speed-up: compare takes those of {COMPARABLE_KINDS}"
    )
