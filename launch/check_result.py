"""One thing looked at before a start: the fact, and what to do where it is not good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """Ordered by weight: only BAD keeps `up` from starting."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing looked at: the fact, and what to do where it is not good."""

    subject: str
    verdict: CheckStatus
    fact: str
    advice: str = ""


def failed_checks(findings: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Those that keep the stack from starting."""
    return tuple(finding for finding in findings if finding.verdict is CheckStatus.BAD)
