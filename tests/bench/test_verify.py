import math
from dataclasses import replace

import pytest
from fakes import a_reply

from bench.verify import Comparison, compare, difference, verdict

COLD = {"The": -0.1, "This": -2.5, "A": -4.0, "It": -5.0, "In": -6.0, "An": -9.0}


def saying(logprobs, text="The document"):
    return replace(a_reply(text=text, cached=6912), first_logprobs=logprobs)


def shifted(nats, tokens=("The", "This", "A", "It", "In")):
    return {token: value + nats * (token in tokens) for token, value in COLD.items()}


def test_the_difference_is_the_largest_over_the_five_best():
    assert difference(COLD, {**COLD, "A": -4.3, "An": -20.0}) == pytest.approx(0.3)


def test_a_best_token_that_the_other_does_not_have_is_infinitely_far():
    other = {token: value for token, value in COLD.items() if token != "This"}
    assert math.isinf(difference(COLD, other))


def test_no_logprobs_are_no_agreement():
    assert math.isinf(difference({}, COLD))


def test_a_cross_read_that_equals_the_own_warm_reply_is_no_further_than_it():
    comparison = compare(0, saying(COLD), saying(shifted(0.2)), saying(shifted(0.2), "Other text"))
    assert (comparison.noise, comparison.cross) == pytest.approx((0.2, 0.0))
    assert not comparison.same_text


def a_comparison(noise, cross):
    return Comparison(0, noise, cross, 6912, 7000, same_text=True, same_text_plain=True)


@pytest.mark.parametrize(("cross", "agrees"), [(0.1, True), (0.14, True), (0.3, False), (math.inf, False)])
def test_only_what_the_noise_of_the_run_explains_agrees(cross, agrees):
    assert verdict([a_comparison(0.14, 0.0), a_comparison(0.02, cross)]).agrees is agrees
