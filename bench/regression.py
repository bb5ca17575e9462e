"""Checks a result against an expected gain or against an older result, by intervals and never by medians alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.result import Result
from config.errors import ConfigError

COMPARABLE_KINDS = "ttft, aa, decode and peer"


@dataclass(frozen=True, slots=True)
class RegressionOutcome:
    """The outcome of one check: `passed` decides the exit code, `says` is one sentence."""

    passed: bool
    says: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """A speed-up with its interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def check_expected_gain(result: Result, gain: float) -> RegressionOutcome:
    """Whether the lower bound of the speed-up is at least `gain`. Raises ConfigError as `compare_results` does."""
    _check_has_speedup(result)
    claim = _claim(result)
    if claim is None:
        return RegressionOutcome(False, f"a gain of {gain:g} was expected, and this result makes no claim")
    return RegressionOutcome(claim.low >= gain, f"the gain is at least {claim.low:.2f}; {gain:g} was expected")


def compare_results(old: Result, new: Result) -> RegressionOutcome:
    """Fails if the whole interval of the new speed-up lies below that of the old one.

    Speed-ups are compared instead of times: each is a ratio within one run, so a slower machine does not count as a
    regression. Raises ConfigError for results of different questions, and for kinds without a single speed-up.
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


def differences(old: Result, new: Result) -> list[str]:
    """Other differences between two results, which may explain why their speed-ups differ."""
    names = ("model_id", "num_prompts", "output_len", "versions", "host")
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    pairs += [(name, old.stack.get(name), new.stack.get(name)) for name in ("kv_connector", "kv_serde", "l1_size_gb")]
    return [f"{name}: {before} -> {after}" for name, before, after in pairs if before != after]


def comparison_json(outcomes: Sequence[RegressionOutcome], differences: Sequence[str]) -> dict[str, Any]:
    """The outcomes as JSON; `passed` is true if every check passed."""
    return {
        "passed": all(outcome.passed for outcome in outcomes),
        "findings": [asdict(outcome) for outcome in outcomes],
        "differences": list(differences),
    }


def _check_comparable(old: Result, new: Result) -> None:
    for result in (old, new):
        _check_has_speedup(result)
    before, after = ((r.kind, r.input_len, r.comparison.of, r.comparison.over) for r in (old, new))
    for name, was, now in zip(("kind", "input_len", "of", "over"), before, after, strict=True):
        if was != now:
            raise ConfigError(f"the two cannot be compared: {name} is {was} in one, {now} in the other")


def _check_has_speedup(result: Result) -> None:
    if not result.comparison.verdict:
        raise ConfigError(
            f"a result of bench {result.kind} has no single speed-up: compare takes those of {COMPARABLE_KINDS}"
        )


def _claim(result: Result) -> _Claim | None:
    """The speed-up with its interval; None if the result makes no claim, is incomplete, or lacks one of the numbers."""
    speedup = result.comparison.speedup
    claims = result.complete is True and result.comparison.verdict != "no claim"
    if not claims or speedup.median is None or speedup.ci_low is None or speedup.ci_high is None:
        return None
    return _Claim(speedup.median, speedup.ci_low, speedup.ci_high)
