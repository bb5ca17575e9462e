"""Plans which document is sent to which engine, in which order. The plan depends only on the options and the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.arms import Arm, EngineRole
from config.topology import Engine, Topology

MIN_PAIRS = 5  # documents that a claim needs: with four, the true median lies outside their range with probability 1/8
EngineRoles = Mapping[EngineRole, tuple[Engine, Engine]]  # in the first and in the second half of a run
SampleKey = tuple[int, str, int]  # document, arm and input_len of one sample


class WorkUnit(Protocol):
    """The unit that a resumed run repeats as a whole: a document in all its arms, or a cell of a sweep."""

    @property
    def rows(self) -> tuple[SampleKey, ...]:
        """One key for each of the unit's samples."""

    @property
    def title(self) -> str:
        """A progress line to print before the unit; empty if the lines of its samples suffice."""


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One request of a trial."""

    arm: Arm
    engine: Engine


@dataclass(frozen=True, slots=True)
class Trial:
    """One new document, and the order of its arms.

    `input_len` is the length of the whole prompt in tokens; 0, for media, leaves the length unchanged.
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
    """One trial for each of `input_lens`, numbered from `first`; engines swap roles half-way.

    The arms of a trial are in random order, and those of the next trial in the reverse order. The first request after
    a pause takes longer, and this order prevents any arm from being first more often than the others.
    """
    orders = _orders(arms, random.Random(seed))
    return tuple(
        Trial(first + place, input_len, _steps(next(orders), roles, swapped=2 * place >= len(input_lens)))
        for place, input_len in enumerate(input_lens)
    )


def warmups(arms: Sequence[Arm], roles: EngineRoles, input_lens: Sequence[int], times: int) -> tuple[Trial, ...]:
    """Trials in which every engine computes or loads each length `times` times, with separate documents numbered -1."""
    lengths = sorted(set(input_lens)) * times
    return tuple(
        Trial(-1, input_len, _steps(arms, roles, swapped=swapped)) for input_len in lengths for swapped in (False, True)
    )


def assign_roles(topology: Topology) -> EngineRoles:
    """The roles of the arena's four engines."""
    plain_a, plain_b, lmcache_a, lmcache_b = topology.engines
    return assign_plain_pair(plain_a, plain_b) | {
        EngineRole.WRITER: (lmcache_a, lmcache_b),
        EngineRole.READER: (lmcache_b, lmcache_a),
    }


def assign_plain_pair(first: Engine, second: Engine) -> dict[EngineRole, tuple[Engine, Engine]]:
    """The roles of two engines that are not known to share anything."""
    return {EngineRole.PLAIN: (first, second), EngineRole.OTHER: (second, first)}


def _orders(arms: Sequence[Arm], shuffle: random.Random) -> Iterator[Sequence[Arm]]:
    while True:
        order = shuffle.sample(list(arms), len(arms))
        yield order
        yield order[::-1]


def _steps(order: Sequence[Arm], roles: EngineRoles, *, swapped: bool) -> tuple[TrialStep, ...]:
    """The arms in the given order, except that each comes after its `after_arm`."""
    waiting, done = list(order), list[Arm]()
    while waiting:
        arm = next(arm for arm in waiting if not arm.after_arm or arm.after_arm in {other.name for other in done})
        waiting.remove(arm)
        done.append(arm)
    return tuple(TrialStep(arm, roles[arm.role][swapped]) for arm in done)
