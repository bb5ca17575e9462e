"""Which document goes where, in which order: a pure function of the choices and the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.arms import Arm, EngineRole
from config.topology import Engine, Topology

MIN_PAIRS = 5  # documents that a claim takes: the median lies beyond all of four with a chance of one in eight
EngineRoles = Mapping[EngineRole, tuple[Engine, Engine]]  # in the first half of a run, and in the second
SampleKey = tuple[int, str, int]  # of one sample: its document, arm and input_len


class WorkUnit(Protocol):
    """What a resumed run repeats as a whole: a document in all its arms, or a cell of a sweep."""

    @property
    def rows(self) -> tuple[SampleKey, ...]:
        """One for each of its samples."""

    @property
    def title(self) -> str:
        """A line of progress before it; empty where the lines of its samples suffice."""


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One request of a trial."""

    arm: Arm
    engine: Engine


@dataclass(frozen=True, slots=True)
class Trial:
    """One new document, and the order of its arms.

    `input_len` counts tokens of the whole prompt; 0 leaves its length as it is, which media need.
    """

    document: int
    input_len: int
    steps: tuple[TrialStep, ...]
    title: str = ""

    @property
    def rows(self) -> tuple[SampleKey, ...]:
        return tuple((self.document, step.arm.name, self.input_len) for step in self.steps)


def plan(
    arms: Sequence[Arm], roles: EngineRoles, input_lens: Sequence[int], seed: int, first: int = 0
) -> tuple[Trial, ...]:
    """One trial for each of `input_lens`, numbered from `first`; roles are swapped half-way.

    Arms are in random order, and in the next trial in the reverse order. The first request after a pause takes longer,
    and this way no arm is first more often than another.
    """
    orders = _orders(arms, random.Random(seed))
    return tuple(
        Trial(first + place, input_len, _steps(next(orders), roles, swapped=2 * place >= len(input_lens)))
        for place, input_len in enumerate(input_lens)
    )


def warmups(arms: Sequence[Arm], roles: EngineRoles, input_lens: Sequence[int], times: int) -> tuple[Trial, ...]:
    """Every engine computes, or loads, each length `times` times, on documents of their own (numbered below zero)."""
    lengths = sorted(set(input_lens)) * times
    return tuple(
        Trial(-1, input_len, _steps(arms, roles, swapped=swapped)) for input_len in lengths for swapped in (False, True)
    )


def assign_roles(topology: Topology) -> EngineRoles:
    """The arena's own four engines."""
    plain_a, plain_b, lmcache_a, lmcache_b = topology.engines
    return assign_plain_pair(plain_a, plain_b) | {
        EngineRole.WRITER: (lmcache_a, lmcache_b),
        EngineRole.READER: (lmcache_b, lmcache_a),
    }


def assign_plain_pair(first: Engine, second: Engine) -> dict[EngineRole, tuple[Engine, Engine]]:
    """Two engines that share nothing, as far as is known."""
    return {EngineRole.PLAIN: (first, second), EngineRole.OTHER: (second, first)}


def _orders(arms: Sequence[Arm], shuffle: random.Random) -> Iterator[Sequence[Arm]]:
    while True:
        order = shuffle.sample(list(arms), len(arms))
        yield order
        yield order[::-1]


def _steps(order: Sequence[Arm], roles: EngineRoles, *, swapped: bool) -> tuple[TrialStep, ...]:
    """The arms in this order, but none before the arm that must precede it."""
    waiting, done = list(order), list[Arm]()
    while waiting:
        arm = next(arm for arm in waiting if not arm.after_arm or arm.after_arm in {other.name for other in done})
        waiting.remove(arm)
        done.append(arm)
    return tuple(TrialStep(arm, roles[arm.role][swapped]) for arm in done)
