import pytest
from bench_rows import sample

from bench.options import Options
from bench.questions.decode import decode_ms, summary
from bench.sample_warnings import sample_warnings

OPTIONS = Options(kind="decode", input_lens=(7000,) * 6)


def rows(cold_ms, storing_ms, other_ms=None, **more):
    for n in range(6):
        yield sample(n, "cold", server_generation_ms=31 * cold_ms)
        yield sample(n, "other_instance", server_generation_ms=31 * (other_ms or cold_ms))
        yield sample(n, "first_sight", server_generation_ms=31 * storing_ms, **more)


def test_a_token_that_takes_longer_while_storing_is_called_slower():
    found = summary(list(rows(30, 60)), OPTIONS)["comparison"]
    assert (found["metric"], found["verdict"]) == ("decode_ms", "slower")
    assert found["speedup"]["median"] == pytest.approx(0.5)


def test_an_answer_that_comes_late_and_in_one_burst_is_not_faster_for_it():
    burst = list(rows(30, 30, itls=(0.0001,) * 31, tpot_ms=0.1))
    found = summary(burst, OPTIONS)
    assert found["comparison"]["verdict"] == "not distinguishable"
    assert found["decode"]["bursts"] == {"cold": 0, "other_instance": 0, "first_sight": 6}
    assert any("in one burst" in line and "first_sight 6 of 6" in line for line in sample_warnings(burst))


def test_what_two_plain_engines_differ_by_is_no_price_of_storing():
    found = summary(list(rows(30, 36, other_ms=36)), OPTIONS)["comparison"]
    assert found["verdict"] == "not distinguishable"
    assert found["noise_floor"]["ratio"] == pytest.approx(1.2)


def test_the_median_that_is_compared_stands_beside_the_verdict():
    assert summary(list(rows(30, 60)), OPTIONS)["decode"]["median_decode_ms"] == {
        "cold": 30,
        "other_instance": 30,
        "first_sight": 60,
    }


def test_without_the_engines_own_clock_nothing_is_compared_and_it_is_said_what_is_missing():
    assert decode_ms(sample(0, "cold")) is None
    samples = [sample(n, arm) for n in range(6) for arm in ("cold", "other_instance", "first_sight")]
    found = summary(samples, OPTIONS)["comparison"]
    assert found["verdict"] == "no claim"
    assert "0 of 6 documents have decode_ms both ways" in found["why"]
    assert "--enable-per-request-metrics" in found["why"]
