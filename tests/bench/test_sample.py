import pytest
from bench_rows import sample

from bench.sample_warnings import sample_warnings


def burst(*itls, generation_ms=None):
    return sample(0, "cold", itls=itls, server_generation_ms=generation_ms).in_one_burst


@pytest.mark.parametrize("ms", [1, 2, 4, 30])
def test_the_tokens_of_a_gpu_are_no_burst(ms):
    gaps = (ms / 1e3,) * 31
    assert not burst(*gaps)
    assert not burst(*gaps, generation_ms=31 * ms)
    assert not any("burst" in line for line in sample_warnings([sample(n, "cold", itls=gaps) for n in range(5)]))


def test_tokens_that_came_sooner_than_the_engine_made_them_are_one_burst_however_slow_they_came():
    assert burst(*(0.004,) * 31, generation_ms=900)
    assert not burst(*(0.0001,) * 31, generation_ms=4)  # as fast as it says


def test_without_the_engines_clock_tokens_of_one_wake_up_are_a_burst():
    assert burst(*(0.0001,) * 31)
    assert not burst(0.0001, 0.0001, 0.002)


def test_two_tokens_are_no_burst():
    assert not burst(0.0001, generation_ms=30)
