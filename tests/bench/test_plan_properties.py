"""What holds for every plan. The examples are the same at every run."""

import random
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.arms import TTFT_ARMS, Arm, EngineRole, always_valid
from bench.plan import assign_roles, plan, warmups
from config.settings import Settings
from config.topology import Topology

always = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROLES = assign_roles(Topology.of(Settings.from_env({})))
SWAPPED = {role: engines[::-1] for role, engines in ROLES.items()}


@st.composite
def arm_sets(draw):
    """Any arms, each after none or one of the others, listed in any order."""
    arms = list[Arm]()
    for number in range(draw(st.integers(1, 8))):
        after = draw(st.sampled_from(["", *(arm.name for arm in arms)]))
        arms.append(Arm(f"arm {number}", draw(st.sampled_from(EngineRole)), always_valid, after))
    return draw(st.permutations(arms))


arms_of_a_study = arm_sets() | st.permutations(TTFT_ARMS)
lengths = st.lists(st.integers(1, 8192), max_size=12)
seeds = st.integers(0, 2**32)


@always
@given(arms_of_a_study, lengths, seeds)
def test_every_trial_has_every_arm_once_and_each_after_the_one_it_needs(arms, input_lens, seed):
    trials = (*plan(arms, ROLES, input_lens, seed), *warmups(arms, ROLES, input_lens, 1))
    for trial in trials:
        names = [step.arm.name for step in trial.steps]
        assert sorted(names) == sorted(arm.name for arm in arms)
        assert all(names.index(s.arm.after_arm) < names.index(s.arm.name) for s in trial.steps if s.arm.after_arm)


@always
@given(arms_of_a_study, lengths, seeds)
def test_a_plan_is_a_pure_function_of_its_choices_and_the_seed(arms, input_lens, seed):
    random.seed(1)
    first, state = plan(arms, ROLES, input_lens, seed), random.getstate()
    random.seed(2)
    assert plan(arms, ROLES, input_lens, seed) == first
    random.seed(1)
    assert random.getstate() == state


@always
@given(seeds)
def test_each_order_is_at_random_and_followed_by_its_reverse(seed):
    arms = [Arm(str(number), EngineRole.PLAIN, always_valid) for number in range(8)]
    orders = [[step.arm.name for step in trial.steps] for trial in plan(arms, ROLES, [1] * 8, seed)]
    assert orders[1::2] == [order[::-1] for order in orders[::2]]
    assert len(set(map(tuple, orders))) > 2


@always
@given(arms_of_a_study, lengths, seeds)
def test_documents_are_numbered_and_roles_swapped_half_way(arms, input_lens, seed):
    trials = plan(arms, ROLES, input_lens, seed)
    assert [(trial.document, trial.input_len) for trial in trials] == list(enumerate(input_lens))
    swapped = [2 * trial.document >= len(trials) for trial in trials]
    assert sum(swapped) == len(trials) // 2
    assert all(sooner <= later for sooner, later in pairwise(swapped))
    for trial, is_swapped in zip(trials, swapped, strict=True):
        assert all(step.engine == (SWAPPED if is_swapped else ROLES)[step.arm.role][0] for step in trial.steps)
