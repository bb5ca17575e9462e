import json
import math

import pytest
from bench_rows import sample

from bench.study import Options
from bench.verify import QUESTION, difference, divergence, document, needle, prompts, summary, verdict

BEST = {"The": -0.1, "This": -2.5, "A": -4.0, "It": -5.0, "In": -6.0, "An": -9.0}
OPTIONS = Options(kind="verify", input_lens=(7000,))


def saying(best, text="The code is 1255.", arm="cold", number=0):
    tokens = [
        {"token": token, "best": best if place == 0 else {token: -0.1}} for place, token in enumerate(text.split())
    ]
    return sample(number, arm, text=text, logprobs=tokens, nonce="00ff", cached_tokens=6912)


def shifted(nats, tokens=("The", "This", "A", "It", "In")):
    return {token: value + nats * (token in tokens) for token, value in BEST.items()}


def test_the_difference_is_the_largest_over_the_five_best():
    assert difference(saying(BEST), saying({**BEST, "A": -4.3, "An": -20.0})) == pytest.approx(0.3)


def test_a_best_token_that_the_other_does_not_have_is_infinitely_far():
    other = {token: value for token, value in BEST.items() if token != "This"}
    assert math.isinf(difference(saying(BEST), saying(other)))


def test_no_logprobs_are_no_agreement():
    assert math.isinf(difference(saying(BEST), sample(0, "cross_read")))


def test_a_cross_read_that_equals_the_own_warm_reply_is_no_further_than_it():
    found = document(saying(BEST), saying(shifted(0.2)), saying(shifted(0.2), "Other text"))
    assert (found["noise"], found["cross"]) == pytest.approx((0.2, 0.0))
    assert not found["same_text"]


def test_texts_part_at_a_token_and_a_near_tie_is_told_from_a_real_difference():
    ours = sample(
        0, "cold", logprobs=[{"token": "a", "best": {"a": -0.1}}, {"token": "b", "best": {"b": -0.7, "c": -0.8}}]
    )
    theirs = sample(0, "cross_read", logprobs=[{"token": "a", "best": {}}, {"token": "c", "best": {}}])
    far = sample(0, "cross_read", logprobs=[{"token": "z", "best": {}}])
    assert divergence(ours, theirs) == {"token": 1, "gap": pytest.approx(0.1), "near_tie": True}
    assert divergence(ours, far) == {"token": 0, "gap": "infinite", "near_tie": False}
    assert divergence(ours, ours) is None


def of(noise, cross, plain=True, found=True):
    return {"document": 0, "noise": noise, "cross": cross, "needle": {"plain": plain, "cross": found}}


@pytest.mark.parametrize(("cross", "agrees"), [(0.1, True), (0.14, True), (0.3, False), (math.inf, False)])
def test_only_what_the_noise_of_the_run_explains_agrees(cross, agrees):
    assert verdict([of(0.14, 0.0), of(0.02, cross)])["agrees"] is agrees


@pytest.mark.parametrize(("plain", "found", "agrees"), [(True, False, False), (False, False, True), (True, True, True)])
def test_a_needle_that_plain_finds_must_be_found(plain, found, agrees):
    assert verdict([of(0.1, 0.0, plain, found)])["agrees"] is agrees


def test_a_document_left_out_is_no_agreement_and_neither_is_none_at_all():
    assert not verdict([of(0.1, 0.0)], left_out=1)["agrees"]
    assert not verdict([])["agrees"]


def test_a_noise_that_is_infinite_explains_nothing():
    assert not verdict([of(math.inf, 0.0)])["agrees"]
    assert not verdict([of(math.inf, math.inf)])["agrees"]


def test_a_reply_that_broke_leaves_its_document_out_and_the_summary_is_json():
    samples = [saying(BEST, arm="cold"), saying(BEST, arm="own_warm"), sample(0, "cross_read", None, reason="no text")]
    found = summary(samples, OPTIONS)["verify"]
    assert (found["agrees"], found["left_out"]) == (False, 1)
    far = verdict([of(0.1, math.inf)])
    assert json.loads(json.dumps(far, allow_nan=False))["worst"] == "infinite"


def test_every_document_hides_a_needle_of_its_own_before_its_last_chunk():
    one, other = (prompts(OPTIONS)(nonce) for nonce in ("00000000000000aa", "00000000000000bb"))
    text = one.messages[0]["content"]
    assert needle("00000000000000aa") in text
    assert needle("00000000000000bb") not in text
    assert needle("00000000000000bb") in other.messages[0]["content"]
    assert one.question == QUESTION


def test_what_rounding_alone_moves_is_no_difference():
    """Float32, 640 tokens reused instead of 512: 1.1e-5 nats, where one document's noise floor came out as 5.7e-6."""
    noisy = document(saying(BEST), saying(shifted(5.7e-6)), saying(shifted(1.1e-5)))
    assert verdict([noisy])["agrees"]
    assert not verdict([document(saying(BEST), saying(BEST), saying(shifted(0.001)))])["agrees"]
