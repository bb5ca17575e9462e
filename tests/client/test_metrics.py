from dataclasses import replace

import pytest

from client.metrics import TokenCounters, histogram_times, sources_between, sum_metrics
from client.reply import HistogramTimes, Sources


def grown(computed=0, own=0, shared=0, l1=0.0, l2=0.0):
    """Counters after they grew by so much."""
    by_source = {"local_compute": 50.0 + computed, "local_cache_hit": 7.0 + own, "external_kv_transfer": 3.0 + shared}
    return TokenCounters(by_source, 11.0 + l1, 13.0 + l2)


NO_TIERS = TokenCounters(grown().by_source)


@pytest.mark.parametrize(
    ("before", "after", "sources"),
    [
        pytest.param(grown(), grown(88, 0, 6912, l2=6912), Sources(88, 0, 6912, l2=6912), id="alone"),
        pytest.param(grown(), grown(7088, 0, 6912), None, id="with another request in flight"),
        pytest.param(None, grown(), None, id="no answer before"),
        pytest.param(grown(), None, None, id="no answer after"),
        pytest.param(grown(9000), grown(100, 0, 16), None, id="counters that fell with a restart"),
        pytest.param(grown(), grown(88, 0, 6912), Sources(88, 0, 6912), id="too little from the cache server"),
        pytest.param(NO_TIERS, grown(88, 0, 6912, l2=6912), Sources(88, 0, 6912), id="no cache server before"),
        pytest.param(grown(), grown(88, 6912, l2=6912), Sources(88, 6912, 0), id="a lookup that was not needed"),
    ],
)
def test_the_sources_of_a_prompt_are_exact_or_unknown(before, after, sources):
    assert sources_between(before, after, 7000) == sources


@pytest.mark.parametrize(("before", "after", "hits"), [(4, 6, 2), (4, 4, 0), (None, 6, None), (9, 1, None)])
def test_media_that_were_preprocessed_before_are_counted_apart_from_kv(before, after, hits):
    ends = (replace(grown(), mm_cache_hits=before), replace(grown(computed=528), mm_cache_hits=after))
    assert sources_between(*ends, 528) == Sources(528, 0, 0, mm_cache_hits=hits)


def test_totals_sum_over_labels():
    text = '# TYPE hits counter\nhits_total{m="a"} 2\nhits_total{m="b"} 3\n'
    assert sum_metrics(text)["hits_total"] == 5


def observed(lookups=(1, 0.5), l1=0.0, **more):
    return TokenCounters({}, l1=l1, histograms={"lookup": lookups, **more})


@pytest.mark.parametrize(
    ("before", "after", "times"),
    [
        pytest.param(observed(), observed((2, 0.75)), HistogramTimes(lookup=0.25), id="alone"),
        pytest.param(observed(), observed((3, 0.75)), HistogramTimes(), id="with another request in flight"),
        pytest.param(observed((9, 4.0)), observed((1, 0.2)), HistogramTimes(), id="after a restart"),
        pytest.param(observed(), observed(), HistogramTimes(), id="nothing observed"),
        pytest.param(None, observed(), HistogramTimes(), id="no answer before"),
        pytest.param(observed(), None, HistogramTimes(), id="no answer after"),
        pytest.param(
            observed(), observed(volume_gb_per_s=(1, 0.6)), HistogramTimes(volume_gb_per_s=0.6), id="the first load"
        ),
        pytest.param(
            observed(l1=None), observed(volume_gb_per_s=(1, 0.6)), HistogramTimes(), id="no cache server before"
        ),
    ],
)
def test_a_histogram_speaks_of_one_request_if_it_has_one_observation_more(before, after, times):
    assert histogram_times(before, after) == times
