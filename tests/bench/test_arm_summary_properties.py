"""What must hold of any samples: order is nothing, time is a scale, and what does not count leaves no trace."""

import random
from typing import Any

import pytest
from bench_rows import sample
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.arm_summary import summarize_arm
from bench.sample import Sample
from bench.speedup import compare_arms

ARMS = ("cold", "cross_read")
TIMES = ("ttft_ms", "tpot_ms", "e2el_ms", "server_queue_ms", "server_ttft_ms")

ms = st.floats(1.0, 1e5)
rows = st.builds(
    lambda document, arm, ttft, tpot, gaps, reason: sample(
        document,
        arm,
        ttft,
        **({} if ttft is None else {"tpot_ms": tpot, "e2el_ms": ttft + 1e3 * sum(gaps), "itls": tuple(gaps)}),
        reason=reason if ttft is not None else "no answer",
    ),
    st.integers(0, 11),
    st.sampled_from(ARMS),
    st.none() | ms,
    ms,
    st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=4),
    st.sampled_from(["", "", "", "cached"]),
)
runs = st.lists(rows, max_size=24, unique_by=lambda s: (s.document, s.arm))
few = settings(max_examples=40, deadline=None)


def figures(samples: list[Sample]) -> dict[str, Any]:
    """All numbers of all arms and of the comparison, under one name each; outliers by document."""
    found = {}
    for arm in ARMS:
        fields = summarize_arm([s for s in samples if s.arm == arm], detailed=False)
        found |= {f"{arm} {name}": value for name, value in fields.items() if name != "outliers"}
        found[f"{arm} outliers"] = sorted(fields["outliers"])
    comparison = compare_arms(samples, "cross_read", "cold")
    for name in ("speedup", "saved_ms"):
        found |= {f"{name} {field}": value for field, value in comparison[name].items()}
    return found | {"verdict": comparison["verdict"]}


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        number = isinstance(value, float) and expected[name] is not None
        assert value == (pytest.approx(expected[name], rel=1e-6, abs=1e-6) if number else expected[name]), name


def slower(one: Sample, times: float) -> Sample:
    scaled = {name: None if (value := getattr(one, name)) is None else value * times for name in TIMES}
    return one.model_copy(update={**scaled, "itls": tuple(gap * times for gap in one.itls)})


@few
@given(runs, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(samples, shuffle: random.Random):
    shuffled = list(samples)
    shuffle.shuffle(shuffled)
    same(figures(shuffled), figures(samples))


@few
@given(runs, st.sampled_from([0.5, 4.0]))
def test_a_machine_so_many_times_slower_has_times_so_many_times_longer_and_the_same_ratios(samples, times):
    before, after = figures(samples), figures([slower(one, times) for one in samples])
    for name, value in before.items():
        scale = 1.0
        if isinstance(value, float) and (name.endswith(("_ms", "duration")) or name.startswith("saved_ms")):
            scale = 1.0 if name.endswith("confidence_level") else times
        elif isinstance(value, float) and "throughput" in name:
            scale = 1 / times
        before[name] = value * scale if isinstance(value, float) else value
    same(after, before)


@few
@given(runs)
def test_a_row_that_does_not_count_leaves_no_trace_but_in_the_number_of_failures(samples):
    def counts(samples: list[Sample]) -> dict[str, Any]:
        return {k: v for k, v in figures(samples).items() if k != "verdict" and not k.endswith("failed")}

    same(counts(samples), counts([s for s in samples if s.valid]))
    failed = [summarize_arm([s for s in samples if s.arm == arm], detailed=False)["failed"] for arm in ARMS]
    assert sum(failed) == sum(not s.valid for s in samples)
