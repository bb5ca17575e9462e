import json
import math

import numpy as np
import pytest
from bench_rows import sample

from bench.answers import compare_document, difference, divergence, verdict

BEST = {"The": -0.1, "This": -2.5, "A": -4.0, "It": -5.0, "In": -6.0, "An": -9.0}
NAMES = [f"token {n}" for n in range(20)]


def saying(best, text="The code is 1255.", arm="cold", number=0, late=None):
    """`best` are the first token's candidates, `late` by how many nats those of a later token are moved."""
    tokens = [
        {"token": token, "best": best if place == 0 else {token: -0.1 - (late or {}).get(place, 0.0), "…": -0.3}}
        for place, token in enumerate(text.split())
    ]
    return sample(number, arm, text=text, logprobs=tokens, nonce="00ff", cached_tokens=6912)


def shifted(nats, tokens=("The", "This", "A", "It", "In")):
    return {token: value + nats * (token in tokens) for token, value in BEST.items()}


def test_the_difference_is_the_largest_over_the_five_best():
    assert difference(saying(BEST), saying({**BEST, "A": -4.3, "An": -20.0})) == pytest.approx(0.3)


def test_a_best_token_that_the_other_does_not_list_is_as_far_as_it_must_be_at_least():
    other = {token: value for token, value in BEST.items() if token != "This"}
    assert difference(saying(BEST), saying(other)) == pytest.approx(9.0 - 2.5)


def test_every_token_is_looked_at_up_to_where_the_texts_part_and_none_after():
    ours, late = saying(BEST, "The code is 1255."), saying(BEST, "The code is 1255.", late={2: 0.7})
    assert difference(ours, late) == pytest.approx(0.7)
    assert difference(ours, saying(BEST, "The key is 1255.", late={2: 0.7, 3: 5.0})) < 0.7


def test_no_logprobs_are_no_agreement():
    assert math.isinf(difference(saying(BEST), sample(0, "cross_read")))


def test_a_cross_read_that_equals_the_own_warm_reply_is_no_further_than_it():
    found = compare_document(saying(BEST), saying(shifted(0.2)), saying(shifted(0.2), "Other text"))
    assert (found["noise"], found["cross"]) == pytest.approx((0.2, 0.0))
    assert not found["same_text"]


def test_texts_part_at_a_token_and_a_near_tie_is_told_from_a_real_difference():
    ours = sample(
        0,
        "cold",
        logprobs=[{"token": "a", "best": {"a": -0.1}}, {"token": "b", "best": {"b": -0.7, "c": -0.8, "x": -9.7}}],
    )
    theirs, far = (
        sample(0, "cross_read", logprobs=[{"token": "a", "best": {"a": -0.1}}, {"token": token, "best": {token: -0.1}}])
        for token in ("c", "z")
    )
    assert divergence(ours, theirs) == {"token": 1, "gap": pytest.approx(0.1), "near_tie": True}
    assert divergence(ours, far) == {"token": 1, "gap": pytest.approx(9.0), "near_tie": False}
    assert divergence(ours, ours) is None


def of(noise, cross, plain=True, found=True):
    needle = {"plain": plain, "cross": found}
    return {"document": 0, "noise": noise, "cross": cross, "divergence": None, "needle": needle}


@pytest.mark.parametrize(("cross", "agrees"), [(0.1, True), (0.28, True), (0.3, False), (math.inf, False)])
def test_only_what_twice_the_noise_of_the_run_explains_agrees(cross, agrees):
    found = verdict([of(0.14, 0.0), of(0.02, cross)])
    assert (found["agrees"], found["verdict"]) == (agrees, "same" if agrees else "different")


@pytest.mark.parametrize(("gap", "agrees"), [(0.4, True), (0.6, False)])
def test_texts_that_part_must_have_been_near_a_tie_however_close_the_candidates_are(gap, agrees):
    parted = {"token": 3, "gap": gap, "near_tie": gap < 0.5}
    found = verdict([of(0.1, 0.05) | {"divergence": parted}])
    assert found["agrees"] is agrees
    assert ("parts at token 3" in found["why"]) is not agrees


def test_texts_part_from_the_plain_reply_that_the_cross_read_follows_furthest():
    cold, warm, cross = (saying(BEST, text) for text in ("The code is 1255.", "The key is 7.", "The key was 7."))
    assert compare_document(cold, warm, cross)["divergence"]["token"] == 2
    assert compare_document(cold, warm, cross)["tokens"] == 3


def test_a_third_rounding_like_the_other_two_is_hardly_ever_called_a_difference():
    """Cold, own-warm and a cross-read of other chunks: three roundings of one truth, ten documents, 32 tokens."""
    rng = np.random.default_rng(0)

    def reply(truth, number):
        rows = [dict(zip(NAMES, row, strict=True)) for row in truth + rng.normal(0, 0.06, truth.shape)]
        return sample(number, "cold", logprobs=[{"token": max(row, key=row.get), "best": row} for row in rows])

    def run():
        truths = [-rng.exponential(2.0, (32, len(NAMES))) for _ in range(10)]
        return verdict([compare_document(*(reply(truth, n) for _ in range(3))) for n, truth in enumerate(truths)])

    assert sum(not run()["agrees"] for _ in range(60)) <= 1


def test_a_token_that_differs_late_is_found_where_the_first_one_is_the_same():
    ruined = saying(BEST, "The code is 1255.", late={3: 2.0})
    found = verdict([compare_document(saying(BEST), saying(shifted(0.1)), ruined)])
    assert found["verdict"] == "different"
    assert "2 nats" in found["why"]


@pytest.mark.parametrize(("plain", "found", "agrees"), [(True, False, False), (False, False, True), (True, True, True)])
def test_a_needle_that_plain_finds_must_be_found(plain, found, agrees):
    assert verdict([of(0.1, 0.0, plain, found)])["agrees"] is agrees


def test_a_document_left_out_is_no_agreement_and_neither_is_none_at_all():
    one = verdict([of(0.1, 0.0)], {4: "cross_read: only 0 of 7000 tokens were read from the volume"})
    assert (one["agrees"], one["verdict"]) == (False, "no claim")
    assert one["why"].startswith("1 of 2 documents left out, the first for this: document 4, cross_read: only 0")
    assert (verdict([])["verdict"], verdict([])["why"]) == ("no claim", "no document was compared")


def test_ruined_kv_whose_candidates_are_no_numbers_is_a_wrong_answer():
    found = verdict([compare_document(saying(BEST), saying(shifted(0.1)), saying({}, arm="cross_read"))])
    assert (found["verdict"], found["why"]) == ("different", "document 0: log-probabilities are no numbers")


def test_three_wrong_documents_are_told_and_the_rest_counted():
    assert verdict([of(0.1, 3.0)] * 5)["why"].endswith("; and 2 more")


def test_a_wrong_answer_is_not_hidden_by_a_document_that_is_left_out():
    assert verdict([of(0.1, 3.0)], {4: "no answer"})["verdict"] == "different"


def test_a_noise_that_is_infinite_explains_nothing_and_accuses_nobody():
    for cross in (0.0, math.inf):
        found = verdict([of(math.inf, cross)])
        assert (found["verdict"], "no log-probabilities" in found["why"]) == ("no claim", True)


def test_what_rounding_alone_moves_is_no_difference():
    """Float32, 640 tokens reused instead of 512: 1.1e-5 nats, where one document's noise floor came out as 5.7e-6."""
    noisy = compare_document(saying(BEST), saying(shifted(5.7e-6)), saying(shifted(1.1e-5)))
    assert verdict([noisy])["agrees"]
    assert not verdict([compare_document(saying(BEST), saying(BEST), saying(shifted(0.001)))])["agrees"]


def test_a_difference_that_is_infinite_is_a_word_in_the_result():
    far = verdict([of(0.1, math.inf)])
    assert json.loads(json.dumps(far, allow_nan=False))["worst"] == "infinite"
