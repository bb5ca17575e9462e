from bench_rows import sample

from bench.answers import needle
from bench.options import Options
from bench.questions.verify import QUESTION, prompts, summary

OPTIONS = Options(kind="verify", input_lens=(7000,))


def test_a_reply_that_broke_leaves_its_document_out():
    samples = [sample(0, "cold"), sample(0, "own_warm"), sample(0, "cross_read", None, reason="no text")]
    found = summary(samples, OPTIONS)["verify"]
    assert (found["agrees"], found["left_out"]) == (False, 1)
    assert "document 0, cross_read: no text" in found["why"]


def test_every_document_hides_a_needle_of_its_own_before_its_last_chunk():
    one, other = (prompts(OPTIONS)(nonce) for nonce in ("00000000000000aa", "00000000000000bb"))
    text = one.messages[0]["content"]
    assert needle("00000000000000aa") in text
    assert needle("00000000000000bb") not in text
    assert needle("00000000000000bb") in other.messages[0]["content"]
    assert one.question == QUESTION
