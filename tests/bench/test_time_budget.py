"""Parts of a TTFT: what each is made of, and that they always add up."""

import pytest
from bench_rows import sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.questions.budget import ARMS
from bench.time_budget import PARTS, budgets, split_ttft

always = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SHARED = {"device": 0, "host": 0, "storage": 6656, "shared": 6656}
TIMES = {"server_total_ttft_ms": 455.0, "server_queue_ms": 350.0, "server_ttft_ms": 95.0}
HIT = {**TIMES, "cached_tokens_details": SHARED, "lookup_ms": 260.0}
LOADED = {**HIT, "loaded_bytes": 150_000_000, "volume_gb_per_s": 0.6}  # in 250 ms
BESIDE = {"read_beside_ms": 20.0, "decryption_beside_ms": 210.0}


def split(arm="cross_read", ttft_ms=460.0, **measured):
    return split_ttft(sample(0, arm, ttft_ms, **measured))


def test_every_part_of_a_cross_read_is_measured_and_the_rest_of_the_load_is_not_attributed():
    found = split(**LOADED, **BESIDE)
    assert found.parts == pytest.approx(
        {"http": 5, "rendering": 10, "lookup": 10, "read": 20, "decryption": 210, "copy": 90, "prefill": 95}
    )
    assert (found.not_attributed, found.overlap) == (pytest.approx(20), 0)


def test_files_that_were_in_the_page_cache_are_read_as_fast_twice_and_the_rest_of_the_load_decrypts_them():
    found = split(**LOADED, **BESIDE, in_page_cache=True)
    assert (found.parts["read"], found.parts["decryption"]) == (pytest.approx(20), pytest.approx(230))
    assert found.not_attributed == pytest.approx(0, abs=1e-6)


def test_without_a_serde_reading_is_the_whole_load_and_nothing_is_decrypted():
    parts = split(**LOADED, read_beside_ms=20.0, decryption_beside_ms=0.0).parts
    assert parts["read"] == pytest.approx(250)
    assert "decryption" not in parts


def test_a_gpus_copy_is_reported_by_the_cache_server_and_the_queue_is_what_it_leaves():
    parts = split(**LOADED, **BESIDE, copy_gb_per_s=3.0).parts
    assert (parts["copy"], parts["queue"]) == (pytest.approx(50), pytest.approx(40))


def test_a_cold_prompt_has_a_queue_and_a_prefill_and_loads_nothing():
    found = split("cold", 6650.0, server_total_ttft_ms=6648.0, server_queue_ms=1.0, server_ttft_ms=6640.0)
    assert found.parts == pytest.approx({"http": 2, "rendering": 7, "queue": 1, "prefill": 6640})
    assert found.not_attributed == pytest.approx(0, abs=1e-6)


def test_a_lookup_without_a_hit_is_no_queue():
    parts = split("first_sight", **TIMES, lookup_ms=345.0).parts
    assert (parts["lookup"], parts["queue"]) == (345, 5)
    assert "copy" not in parts


@pytest.mark.parametrize(
    ("measured", "names"),
    [
        ({}, set()),
        ({"server_total_ttft_ms": 455.0}, {"http"}),
        ({"server_queue_ms": 350.0, "server_ttft_ms": 95.0}, {"outside", "queue", "prefill"}),
        (HIT, {"http", "rendering", "loading", "copy", "prefill"}),
        (LOADED, {"http", "rendering", "loading", "copy", "prefill"}),
        ({**LOADED, "read_beside_ms": 20.0}, {"http", "rendering", "loading", "copy", "prefill"}),
        ({**HIT, "lookup_ms": None}, {"http", "rendering"}),
        ({**TIMES, "lookup_ms": 200.0, "volume_gb_per_s": 0.6}, {"http", "rendering", "queue", "loading", "prefill"}),
    ],
    ids=[
        "nothing",
        "no engine times",
        "no histograms",
        "no rates",
        "no files",
        "no decryption",
        "in process",
        "unused",
    ],
)
def test_what_is_not_reported_is_one_part_with_its_neighbours_or_not_attributed(measured, names):
    found = split(**measured)
    assert found.parts.keys() == names
    assert sum(found.parts.values()) + found.not_attributed - found.overlap == pytest.approx(460)


def test_times_that_overlap_are_counted_twice_and_said_to_be():
    found = split(**LOADED, read_beside_ms=60.0, decryption_beside_ms=210.0)
    assert (found.not_attributed, found.overlap) == (0, pytest.approx(20))


ms = st.none() | st.floats(0, 1e6)
measurements = st.fixed_dictionaries(
    {
        **dict.fromkeys(("server_total_ttft_ms", "server_queue_ms", "server_ttft_ms", "lookup_ms"), ms),
        **dict.fromkeys(("read_beside_ms", "decryption_beside_ms"), ms),
        **dict.fromkeys(("volume_gb_per_s", "copy_gb_per_s"), st.none() | st.floats(1e-3, 1e3)),
        "in_page_cache": st.none() | st.booleans(),
        "loaded_bytes": st.none() | st.integers(0, 10**10),
        "cached_tokens_details": st.none() | st.just(SHARED) | st.just({"shared": 0}),
    }
)


@always
@given(st.lists(st.tuples(st.floats(0.1, 1e6), measurements), min_size=1, max_size=4))
def test_parts_and_what_is_not_attributed_are_the_ttft_and_nothing_is_negative(rows):
    samples = [sample(number, "cross_read", ttft, **measured) for number, (ttft, measured) in enumerate(rows)]
    for each in samples:
        found = split_ttft(each)
        assert set(found.parts) <= set(PARTS)
        assert min(*found.parts.values(), found.not_attributed, found.overlap, 0.0) == 0
        total = sum(found.parts.values()) + found.not_attributed - found.overlap
        assert total == pytest.approx(each.ttft_ms, rel=1e-9, abs=1e-3)
    for row in budgets(samples, ARMS):
        total = sum(row["parts_ms"].values()) + row["not_attributed_ms"] - row["overlap_ms"]
        assert total == pytest.approx(row["mean_ttft_ms"], rel=1e-9, abs=1e-3)


def test_means_are_over_the_samples_that_count_at_each_length():
    cold = {"server_queue_ms": 1.0, "server_ttft_ms": 90.0}
    samples = [sample(0, "cold", 100.0, **cold), sample(1, "cold", 200.0, **cold)]
    samples += [sample(2, "cold", 900.0, reason="cached", **cold), sample(3, "cold", 50.0, input_len=64, **cold)]
    assert [(row["input_len"], row["n"], row["mean_ttft_ms"]) for row in budgets(samples, ARMS)] == [
        (64, 1, 50),
        (7000, 2, 150),
    ]


def test_a_server_that_reports_nothing_has_no_budget_rather_than_an_empty_one():
    assert budgets([sample(0, "cold")], ARMS) == []
