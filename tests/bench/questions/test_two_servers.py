import asyncio
import itertools
import re

import pytest
from bench_rows import a_bench
from fakes import a_reply

from bench.options import Options
from bench.plan import assign_plain_pair
from bench.preflight import PreflightResult
from bench.questions import two_servers
from bench.report.conclusion import conclusion, headline
from bench.result import Result
from bench.runner import run_experiment

PAIR = ("cold", "other_cold")
OPTIONS = Options(kind="ttft", input_lens=(7000,) * 8, num_warmups=0, base_url=("http://a", "http://b"))
NOISE = (1.0, 1.03, 0.98, 1.02, 0.96, 1.01, 0.99)  # its length has no factor in common with the arms


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

    study = two_servers.study(OPTIONS, assign_plain_pair(*pair))
    run = run_experiment(study, OPTIONS, pair, folder, lambda _: None, command="", bench=a_bench(ask), check=introduced)
    return asyncio.run(run).model_dump(mode="json")


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
    assert len(nonces["cold"] | nonces["other_cold"]) == 2 * len(OPTIONS.input_lens)


def test_the_second_servers_cold_document_is_as_long_for_tokenizers_that_cut_digits_alike(topology, tmp_path):
    rows = measured(topology, tmp_path)["samples"]
    for document in range(len(OPTIONS.input_lens)):
        one, other = [next(r["nonce"] for r in rows if (r["document"], r["arm"]) == (document, arm)) for arm in PAIR]
        assert one != other
        assert re.sub(r"\d", "0", one) == re.sub(r"\d", "0", other)


def test_a_server_is_asked_as_often_first_for_the_one_as_for_the_other(topology):
    study = two_servers.study(OPTIONS, assign_plain_pair(*topology.engines[:2]))
    names = [[step.arm.name for step in trial.steps] for trial in study.trials]
    first = [min(names_of.index(arm) for arm in ("other_cold", "other_instance")) for names_of in names]
    assert [names_of[place] for names_of, place in zip(names, first, strict=True)].count("other_cold") == 4


def test_servers_that_tell_nothing_of_their_cache_are_measured_and_it_is_said(topology, tmp_path):
    result = measured(topology, tmp_path, tells=False)
    assert result["failed"] == 0
    assert any("the server does not report" in line and "other_cold" in line for line in result["warnings"])
