"""One result of `./arena doctor`: the fact, and what to do if there is a problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

GIB = 2**30


class CheckStatus(StrEnum):
    """How serious a result is; only BAD prevents `up` from starting."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was checked, its state, and what to do about it; these are the fields of `./arena doctor --json`."""

    subject: str
    status: CheckStatus
    fact: str
    advice: str = ""


def good(subject: str, fact: str) -> CheckResult:
    return CheckResult(subject, CheckStatus.GOOD, fact)


def note(subject: str, fact: str, advice: str = "") -> CheckResult:
    return CheckResult(subject, CheckStatus.NOTE, fact, advice)


def bad(subject: str, fact: str, advice: str) -> CheckResult:
    return CheckResult(subject, CheckStatus.BAD, fact, advice)


def failed_checks(results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Returns the results that prevent the stack from starting."""
    return tuple(result for result in results if result.status is CheckStatus.BAD)
