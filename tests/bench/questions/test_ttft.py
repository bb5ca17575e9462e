import itertools
import re

import pytest
from bench_rows import a_bench, run, sample
from fakes import a_reply

from bench.options import Options
from bench.plan import assign_plain_pair, assign_roles
from bench.preflight import PreflightResult
from bench.questions import ttft
from bench.report.conclusion import conclusion, headline
from bench.result import Result
from bench.sample_warnings import sample_warnings

PAIR = ("cold", "other_cold")
TWO = Options(kind="ttft", input_lens=(7000,) * 8, num_warmups=0, base_url=("http://a", "http://b"))
DECODE = Options(kind="decode", input_lens=(7000,) * 6)
NOISE = (1.0, 1.03, 0.98, 1.02, 0.96, 1.01, 0.99)  # its length has no factor in common with the arms


def test_the_noise_floor_swaps_no_roles_and_warms_up_both_engines(topology):
    experiment = ttft.aa_study(Options(kind="aa", input_lens=(7000,) * 4), assign_roles(topology))
    engines = {(step.arm.name, step.engine.name) for trial in experiment.units for step in trial.steps}
    assert engines == {("plain_a", "plain-a"), ("plain_b", "plain-b")}
    assert {step.engine.name for trial in experiment.warmups for step in trial.steps} == {"plain-a", "plain-b"}


# Two servers


def measured(topology, folder, *, speed=1.0, shares=False, tells=True):
    """The second server is so many times as fast as the first, and may read what that one has stored."""
    pair, seen, noise = topology.engines[:2], set(), itertools.cycle(NOISE)

    async def ask(engine, prompt):
        known = {name for name, nonce in seen if nonce == prompt.nonce}
        seen.add((engine.name, prompt.nonce))
        warm = engine.name in known or (shares and known)
        faster = speed if engine is pair[1] else 1.0
        ttft = (0.3 if warm else 9.0) / faster * next(noise)
        return a_reply(engine, ttft=ttft, cached=(6912 if warm else 0) if tells else None)

    async def introduced(engines):
        return PreflightResult({engine.name: {"model": "small"} for engine in engines}, ())

    experiment = ttft.two_servers_study(TWO, assign_plain_pair(*pair))
    return run(experiment, TWO, pair, folder, a_bench(ask), check=introduced)


@pytest.mark.parametrize("speed", [1.0, 1.3, 0.5])
def test_a_server_that_is_faster_or_slower_and_shares_nothing_makes_no_claim_of_sharing(topology, tmp_path, speed):
    result = measured(topology, tmp_path, speed=speed)
    assert result["comparison"]["verdict"] == "not distinguishable"
    assert headline(Result.model_validate(result)).startswith(
        "On plain-b, a document that plain-a has read cannot be told from one that no server has read"
    )


def test_a_server_that_reads_what_the_first_stored_is_faster_than_itself_by_name(topology, tmp_path):
    result = measured(topology, tmp_path, speed=0.5, shares=True)
    assert result["comparison"]["verdict"] == "faster"
    assert "On plain-b, a document that plain-a has read starts 30.0 times" in conclusion(Result.model_validate(result))
    assert result["ladder"]["cold"]["speedup"]["median"] == pytest.approx(2, rel=0.1)


def test_the_second_servers_cold_document_is_one_that_the_first_has_never_seen(topology, tmp_path):
    rows = measured(topology, tmp_path)["samples"]
    nonces = {arm: {row["nonce"] for row in rows if row["arm"] == arm} for arm in ("cold", "other_cold")}
    assert len(nonces["cold"] | nonces["other_cold"]) == 2 * len(TWO.input_lens)


def test_the_second_servers_cold_document_is_as_long_for_tokenizers_that_cut_digits_alike(topology, tmp_path):
    rows = measured(topology, tmp_path)["samples"]
    for document in range(len(TWO.input_lens)):
        one, other = [next(r["nonce"] for r in rows if (r["document"], r["arm"]) == (document, arm)) for arm in PAIR]
        assert one != other
        assert re.sub(r"\d", "0", one) == re.sub(r"\d", "0", other)


def test_a_server_is_asked_as_often_first_for_the_one_as_for_the_other(topology):
    study = ttft.two_servers_study(TWO, assign_plain_pair(*topology.engines[:2]))
    names = [[step.arm.name for step in trial.steps] for trial in study.units]
    first = [min(names_of.index(arm) for arm in ("other_cold", "other_instance")) for names_of in names]
    assert [names_of[place] for names_of, place in zip(names, first, strict=True)].count("other_cold") == 4


def test_servers_that_tell_nothing_of_their_cache_are_measured_and_it_is_said(topology, tmp_path):
    result = measured(topology, tmp_path, tells=False)
    assert result["failed"] == 0
    assert any("the server does not report" in line and "other_cold" in line for line in result["warnings"])


# What storing costs the tokens that are generated meanwhile


def rows(cold_ms, storing_ms, other_ms=None, **more):
    for n in range(6):
        yield sample(n, "cold", server_generation_ms=31 * cold_ms)
        yield sample(n, "other_instance", server_generation_ms=31 * (other_ms or cold_ms))
        yield sample(n, "first_sight", server_generation_ms=31 * storing_ms, **more)


def test_a_token_that_takes_longer_while_storing_is_called_slower_with_the_median_beside():
    found = ttft.decode_summary(list(rows(30, 60)), DECODE)
    assert (found["comparison"]["metric"], found["comparison"]["verdict"]) == ("decode_ms", "slower")
    assert found["comparison"]["speedup"]["median"] == pytest.approx(0.5)
    assert found["decode"]["median_decode_ms"] == {"cold": 30, "other_instance": 30, "first_sight": 60}


def test_an_answer_that_comes_late_and_in_one_burst_is_not_faster_for_it():
    burst = list(rows(30, 30, itls=(0.0001,) * 31, tpot_ms=0.1))
    found = ttft.decode_summary(burst, DECODE)
    assert found["comparison"]["verdict"] == "not distinguishable"
    assert found["decode"]["bursts"] == {"cold": 0, "other_instance": 0, "first_sight": 6}
    assert any("in one burst" in line and "first_sight 6 of 6" in line for line in sample_warnings(burst))


def test_what_two_plain_engines_differ_by_is_no_price_of_storing():
    found = ttft.decode_summary(list(rows(30, 36, other_ms=36)), DECODE)["comparison"]
    assert found["verdict"] == "not distinguishable"
    assert found["noise_floor"]["ratio"] == pytest.approx(1.2)


def test_without_the_engines_own_clock_nothing_is_compared_and_it_is_said_what_is_missing():
    assert ttft.decode_ms(sample(0, "cold")) is None
    samples = [sample(n, arm) for n in range(6) for arm in ("cold", "other_instance", "first_sight")]
    found = ttft.decode_summary(samples, DECODE)["comparison"]
    assert found["verdict"] == "no claim"
    assert "0 of 6 documents have decode_ms both ways" in found["why"]
    assert "--enable-per-request-metrics" in found["why"]
