from dataclasses import replace

import pytest

from client.metrics import TokenCounters, sources_between, sum_metrics
from client.reply import Sources


def grown(computed=0, own=0, shared=0, l1: float = 0, l2: float = 0):
    by_source = {"local_compute": 50.0 + computed, "local_cache_hit": 7.0 + own, "external_kv_transfer": 3.0 + shared}
    return TokenCounters(by_source, 11.0 + l1, 13.0 + l2)


def test_a_solo_request_is_attributed_exactly():
    sources = sources_between(grown(), grown(computed=88, shared=6912, l2=6912), 7000)
    assert sources == Sources(88, 0, 6912, l1=0, l2=6912)


def test_another_request_in_flight_makes_it_unknown_and_never_a_guess():
    assert sources_between(grown(), grown(computed=7088, shared=6912), 7000) is None


@pytest.mark.parametrize(("before", "after"), [(None, grown()), (grown(), None)])
def test_an_engine_that_does_not_answer_makes_it_unknown(before, after):
    assert sources_between(before, after, 10) is None


def test_counters_that_fell_with_a_restart_make_it_unknown():
    assert sources_between(grown(computed=9000), grown(computed=100, shared=16), 7000) is None


def test_tiers_are_left_open_when_the_cache_server_tells_too_little():
    assert sources_between(grown(), grown(computed=88, shared=6912), 7000) == Sources(88, 0, 6912)


def test_a_lookup_that_the_own_cache_made_needless_is_not_called_shared():
    assert sources_between(grown(), grown(computed=88, own=6912, l2=6912), 7000) == Sources(88, 6912, 0)


@pytest.mark.parametrize(("before", "after", "hits"), [(4, 6, 2), (4, 4, 0), (None, 6, None), (9, 1, None)])
def test_media_that_were_preprocessed_before_are_counted_apart_from_kv(before, after, hits):
    ends = (replace(grown(), mm_cache_hits=before), replace(grown(computed=528), mm_cache_hits=after))
    assert sources_between(*ends, 528) == Sources(528, 0, 0, mm_cache_hits=hits)


def test_totals_sum_over_labels():
    text = '# TYPE hits counter\nhits_total{m="a"} 2\nhits_total{m="b"} 3\n'
    assert sum_metrics(text)["hits_total"] == 5


def test_tiers_are_left_open_when_the_cache_server_did_not_answer_before():
    before = TokenCounters(grown().by_source)
    assert sources_between(before, grown(computed=88, shared=6912, l2=6912), 7000) == Sources(88, 0, 6912)
