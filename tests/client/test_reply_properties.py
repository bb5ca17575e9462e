"""What holds for every input of the pure folds: replies, sources, plans. The examples are the same at every run."""

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.arms import TEXT_ARMS, Arm, EngineRole, always_valid
from bench.plan import assign_roles, plan, warmups
from client.metrics import TokenCounters, sources_between
from client.reply import Delta, Reply, Usage
from config.errors import EmptyReply
from config.settings import Settings
from config.topology import Topology

always = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

seconds = st.floats(1e-6, 1e4)
tokens = st.integers(0, 10**6)
usages = st.builds(Usage, tokens, tokens, tokens)
SOURCES = ("local_compute", "local_cache_hit", "external_kv_transfer")
UNKNOWN = "a_source_of_a_later_version"


@st.composite
def streams(draw):
    """The chunks of one answer, in the order in which they came."""
    times = sorted(draw(st.lists(seconds, min_size=1, max_size=30)))
    return [Delta(draw(st.text(min_size=1)), at, draw(st.booleans())) for at in times]


@always
@given(streams(), usages)
def test_the_times_of_a_reply_add_up(deltas, usage):
    reply = Reply.of("plain-a", deltas, usage)
    assert 0 < reply.ttft <= reply.e2el
    assert reply.ttft + sum(reply.itl) == pytest.approx(reply.e2el)
    assert len(reply.itl) == len(deltas) - 1
    assert all(gap >= 0 for gap in reply.itl)


@always
@given(streams(), usages)
def test_the_text_is_every_chunk_that_is_no_reasoning_in_order(deltas, usage):
    text = Reply.of("plain-a", deltas, usage).text
    assert text == "".join(delta.text for delta in deltas if not delta.reasoning)
    assert len(text) + sum(len(delta.text) for delta in deltas if delta.reasoning) == sum(len(d.text) for d in deltas)


@always
@given(streams(), usages)
def test_tpot_is_by_completion_tokens_and_there_is_none_without_a_second_one(deltas, usage):
    reply = Reply.of("plain-a", deltas, usage)
    assert (reply.tpot is None) == (usage.completion_tokens < 2)
    if reply.tpot is not None:
        assert reply.tpot * (usage.completion_tokens - 1) == pytest.approx(reply.e2el - reply.ttft)


@always
@given(streams(), usages)
def test_the_json_says_the_same_in_milliseconds(deltas, usage):
    reply = Reply.of("plain-a", deltas, usage)
    row = reply.to_json()
    assert row["ttft_ms"] == pytest.approx(reply.ttft * 1e3)
    assert row["ttft_ms"] + sum(row["itls"]) * 1e3 == pytest.approx(row["e2el_ms"])


@always
@given(usages)
def test_there_is_no_reply_without_a_chunk_whatever_the_usage_says(usage):
    with pytest.raises(EmptyReply):
        Reply.of("plain-a", [], usage)


def counters(names):
    return st.builds(
        TokenCounters, st.fixed_dictionaries(dict.fromkeys(names, tokens)), st.none() | tokens, st.none() | tokens
    )


def later(before, grown, tiers=(0, 0)):
    """The counters after they grew by so much, in the order of SOURCES."""
    more = dict(zip((*SOURCES, UNKNOWN), grown, strict=False))
    by_source = {name: value + more[name] for name, value in before.by_source.items()}
    l1, l2 = (None if was is None else was + grew for was, grew in zip((before.l1, before.l2), tiers, strict=True))
    return TokenCounters(by_source, l1, l2)


growth = st.tuples(tokens, tokens, tokens)


@always
@given(counters(SOURCES), growth, st.tuples(tokens, tokens))
def test_the_sources_of_a_request_alone_are_its_prompt(before, grown, tiers):
    sources = sources_between(before, later(before, grown, tiers), sum(grown))
    assert (sources.computed, sources.prefix_cache, sources.shared) == grown
    assert sources.l1 + sources.l2 in (0, sources.shared)
    assert min(sources.l1, sources.l2) >= 0


@always
@given(counters(SOURCES), growth, tokens)
def test_sources_that_do_not_sum_to_the_prompt_are_not_told(before, grown, prompt):
    sources = sources_between(before, later(before, grown), prompt)
    assert (sources is not None) == (sum(grown) == prompt)


@always
@given(counters(SOURCES) | st.none(), counters(SOURCES) | st.none(), tokens)
def test_any_two_looks_at_the_counters_give_the_prompt_or_nothing(before, after, prompt):
    sources = sources_between(before, after, prompt)
    assert sources is None or sources.computed + sources.prefix_cache + sources.shared == prompt


@always
@given(counters((*SOURCES, UNKNOWN)), growth, tokens)
def test_a_source_that_we_do_not_know_is_not_left_out_of_the_sum(before, grown, unknown):
    prompt = sum(grown) + unknown
    sources = sources_between(before, later(before, (*grown, unknown)), prompt)
    assert sources is None or sources.computed + sources.prefix_cache + sources.shared == prompt


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


arms_of_a_study = arm_sets() | st.permutations(TEXT_ARMS)
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
@given(arms_of_a_study, lengths, seeds)
def test_documents_are_numbered_and_roles_swapped_half_way(arms, input_lens, seed):
    trials = plan(arms, ROLES, input_lens, seed)
    assert [(trial.document, trial.input_len) for trial in trials] == list(enumerate(input_lens))
    swapped = [2 * trial.document >= len(trials) for trial in trials]
    assert sum(swapped) == len(trials) // 2
    assert all(sooner <= later for sooner, later in pairwise(swapped))
    for trial, is_swapped in zip(trials, swapped, strict=True):
        assert all(step.engine == (SWAPPED if is_swapped else ROLES)[step.arm.role][0] for step in trial.steps)
