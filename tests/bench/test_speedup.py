import numpy as np
import pytest
from bench_rows import pairs, sample

from bench.speedup import compare_arms, paired


def noise(*ratios):
    return pairs(*ratios, of="other_instance")


def test_ratios_pair_by_document_and_leave_out_what_does_not_count():
    samples = [*pairs(8, 10), sample(2, "cold", 8000), sample(2, "cross_read", 400, reason="only 0 of 7000")]
    assert [slow / fast for fast, slow in paired(samples, "cross_read", "cold")] == pytest.approx([8, 10])


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((8, 10, 9, 12, 11, 10), "faster"),
        ((0.4, 0.5, 0.45, 0.5, 0.4, 0.5), "slower"),
        ((0.9, 1.1, 1.0, 1.05, 0.95, 1.0), "not distinguishable"),
        ((1.02, 1.03, 1.02, 1.04, 1.03, 1.02), "not distinguishable"),
        ((8, 10, 9, 12), "no claim"),
        ((), "no claim"),
    ],
)
def test_the_verdict_is_in_words(ratios, verdict):
    assert compare_arms(pairs(*ratios), "cross_read", "cold")["verdict"] == verdict


def test_a_difference_inside_the_noise_of_the_run_is_not_called_one():
    samples = [*pairs(1.2, 1.25, 1.22, 1.3, 1.2, 1.25), *noise(0.7, 1.4, 1.1, 0.8, 1.4, 0.7)]
    assert compare_arms(samples, "cross_read", "cold")["verdict"] == "faster"
    found = compare_arms(samples, "cross_read", "cold", noise=("other_instance", "cold"))
    assert (found["verdict"], found["noise_floor"]["ratio"] > 1.3) == ("not distinguishable", True)


def test_noise_alone_is_hardly_ever_called_a_difference():
    rng = np.random.default_rng(0)
    claims = [
        compare_arms(pairs(*np.exp(rng.normal(0, 0.1, 8))), "cross_read", "cold")["verdict"] != "not distinguishable"
        for _ in range(60)
    ]
    assert sum(claims) <= 3


@pytest.mark.parametrize("arm", ["cross_read", "cold"])
@pytest.mark.parametrize(("invalid", "verdict"), [(20, "faster"), (21, "no claim")])
def test_more_than_a_fifth_of_either_arm_that_does_not_count_leaves_no_claim(arm, invalid, verdict):
    """Of each arm by itself: half of the reads that had to be computed again are not the arm's best half."""
    flawed = [sample(n, arm, 500, reason="only 0 of 7000") for n in range(invalid)]
    samples = [each for each in pairs(*[8, 9] * 50) if each.arm != arm or each.document >= invalid]
    found = compare_arms([*samples, *flawed], "cross_read", "cold")
    assert found["verdict"] == verdict
    assert (f"21 of 100 samples of {arm} do not count" in found["why"]) is (verdict == "no claim")


def test_noise_that_could_not_be_measured_is_not_taken_for_none():
    samples = [*pairs(1.1, 1.1, 1.1, 1.1, 1.1, 1.1), *(sample(n, "other_instance", reason="cached") for n in range(6))]
    found = compare_arms(samples, "cross_read", "cold", noise=("other_instance", "cold"))
    assert found["verdict"] == "no claim"
    assert "noise could not be measured" in found["why"]


def test_saved_milliseconds_stand_beside_the_ratio():
    saved = compare_arms(pairs(8, 8, 8, 8), "cross_read", "cold")["saved_ms"]
    assert (saved["median"], saved["n"]) == (7000, 4)
