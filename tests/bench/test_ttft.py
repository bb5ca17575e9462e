import itertools

import pytest
from fakes import a_reply, collect

from bench import ttft
from bench.record import arm_result, result, write
from bench.report import conclusion, faults
from bench.ttft import ARMS, Sample, speedups
from engines.errors import EngineUnreachable
from engines.prompt import Prompt
from engines.reply import Sources

COLD = Sources(7000, 0, 0)
SHARED = Sources(88, 0, 6912, l2=6912)
OWN = Sources(88, 6912, 0)
GOOD = {
    "cold": a_reply("plain-a", ttft=9.0, sources=COLD),
    "other_instance": a_reply("plain-b", ttft=9.1, sources=COLD),
    "first_sight": a_reply("lmcache-a", ttft=9.9, sources=COLD),
    "cross_read": a_reply("lmcache-b", ttft=0.5, cached=6912, sources=SHARED),
    "own_warm": a_reply("lmcache-b", ttft=0.3, cached=6912, sources=OWN),
}
FAULT = {arm.name: arm.fault for arm in ARMS}


@pytest.mark.parametrize("arm", GOOD)
def test_a_reply_that_went_its_arms_way_counts(arm):
    assert FAULT[arm](GOOD[arm]) == ""


@pytest.mark.parametrize("arm", ["cold", "other_instance", "first_sight"])
def test_a_cold_sample_with_anything_cached_does_not_count(arm):
    assert "nothing should be" in FAULT[arm](a_reply(cached=128, sources=Sources(6872, 128, 0)))


def test_a_cross_read_from_the_engines_own_cache_does_not_count():
    assert "only 0 of 7000" in FAULT["cross_read"](GOOD["own_warm"])


def test_an_own_warm_sample_from_the_volume_does_not_count():
    assert "only 0 of 7000" in FAULT["own_warm"](GOOD["cross_read"])


def test_a_cross_read_of_half_the_document_does_not_count():
    half = a_reply(cached=3584, sources=Sources(3416, 0, 3584))
    assert "only 3584 of 7000" in FAULT["cross_read"](half)


@pytest.mark.parametrize("arm", ["cross_read", "own_warm"])
def test_a_source_that_cannot_be_told_does_not_count(arm):
    assert "in flight" in FAULT[arm](a_reply(cached=6912, sources=None))


def run(topology, ask, documents=2):
    async def prompts(_engine, prompt, _tokens):
        return prompt

    counts = itertools.count(step=1000)

    async def stored(_cache):
        return next(counts)

    return collect(ttft.run(topology, documents, 7000, ask=ask, sized=prompts, stored=stored))


def test_each_document_goes_through_every_arm_before_the_next_with_a_nonce_of_its_own(topology):
    asked: list[tuple[str, Prompt]] = []

    async def ask(engine, prompt):
        asked.append((engine.name, prompt))
        return a_reply(engine)

    samples = run(topology, ask)
    assert [sample.arm for sample in samples] == [arm.name for arm in ARMS] * 2
    assert [name for name, _ in asked] == [arm.engine for arm in ARMS] * 2
    assert len({prompt.nonce for _, prompt in asked[:5]}) == 1
    assert len({prompt.nonce for _, prompt in asked}) == 2


def test_an_engine_that_fails_is_a_sample_with_its_reason_and_the_run_goes_on(topology):
    async def ask(engine, _prompt):
        if engine.name == "plain-b":
            raise EngineUnreachable("plain-b", "no answer")
        return a_reply(engine)

    samples = run(topology, ask, documents=1)
    assert len(samples) == 5
    assert (samples[1].reply, samples[1].reason) == (None, "plain-b: no answer")


def samples_of(*ratios: float, faulty: frozenset[int] = frozenset()):
    for document, ratio in enumerate(ratios):
        yield Sample(document, "cold", a_reply("plain-a", ttft=8.0), "")
        reason = "only 0 of 7000" if document in faulty else ""
        yield Sample(document, "cross_read", a_reply("lmcache-b", ttft=8.0 / ratio, cached=6912), reason)


def test_speedups_pair_by_document_and_leave_out_what_does_not_count():
    assert speedups(samples_of(8, 10, 20, faulty=frozenset({1}))) == pytest.approx((8, 20))


def test_the_result_reads_like_vllms_and_lists_what_was_left_out(settings):
    samples = list(samples_of(8, 10, 20, faulty=frozenset({1})))
    report = result(samples, settings, 3, 7000)
    assert report["comparison"]["speedup"] == {"median": 14.0, "min": 8.0, "max": 20.0, "n": 2}
    assert report["arms"]["cold"]["median_ttft_ms"] == 8000
    assert report["arms"]["cross_read"]["failed"] == 1
    assert faults(report) == ["document 1, cross_read: only 0 of 7000"]
    assert "14.0 times sooner" in conclusion(report)


def test_without_a_valid_pair_there_is_no_claim(settings):
    report = result(list(samples_of(8, faulty=frozenset({0}))), settings, 1, 7000)
    assert conclusion(report).startswith("No claim")


def test_an_arm_without_samples_has_no_numbers_instead_of_zeros():
    empty = arm_result([])
    assert (empty["completed"], empty["median_ttft_ms"]) == (0, None)


def test_a_result_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "out.json"
    write(path, {"a": 1})
    write(path, {"a": 2})
    assert path.read_text() == '{\n "a": 2\n}\n'
    assert list(path.parent.iterdir()) == [path]
