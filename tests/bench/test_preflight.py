import asyncio
from dataclasses import replace

import pytest
from fake_engine import FakeEngine, Volume
from fakes import CHUNK_SIZE
from pydantic import SecretStr

from bench.preflight import changed_engines, compare_engines, facts_of, preflight, read_engines
from config.errors import ConfigError, EngineRefused, StackError
from config.topology import Engine, ServiceKind

SOUND = {
    "model": "/models/small",
    "version": "0.32.0",
    "max_model_len": 8192,
    "enable_prefix_caching": "True",
    "cache_dtype": "auto",
    "block_size": "32",
    "kv_cache_size_tokens": "23296",
}


def engines(**other):
    lmcache = {"lmcache_version": "0.5.6", "chunk_size": 256}
    return {"plain-a": SOUND, "lmcache-a": {**SOUND, **lmcache}, "lmcache-b": {**SOUND, **lmcache, **other}}


def test_equal_engines_pass_and_a_plain_one_need_not_know_of_lmcache():
    assert compare_engines(engines(), 256).mismatches == ()


@pytest.mark.parametrize(
    "other",
    [
        {"model": "/models/large"},
        {"version": "0.31.0"},
        {"max_model_len": 4096},
        {"cache_dtype": "fp8"},
        {"lmcache_version": "0.5.5"},
        {"chunk_size": 128},
        {"block_size": "128"},
    ],
)
def test_engines_that_differ_in_what_matters_are_refused_by_name(other):
    with pytest.raises(ConfigError, match="lmcache-b") as refused:
        compare_engines(engines(**other), 256)
    assert next(iter(other)) in str(refused.value)


def test_chunks_of_another_size_than_the_setting_are_refused_even_where_all_have_it():
    with pytest.raises(ConfigError, match="256 on lmcache-a, 256 on lmcache-b, and CHUNK_SIZE=64") as refused:
        compare_engines(engines(), 64)
    assert "start it again, or set CHUNK_SIZE" in str(refused.value)


def test_the_engines_themselves_say_which_chunks_are_expected_of_their_cache_servers():
    with FakeEngine("lmcache-a", volume=Volume()) as fake:
        assert asyncio.run(preflight([fake.engine])).engines["lmcache-a"]["chunk_size"] == CHUNK_SIZE
        with pytest.raises(ConfigError, match=f"{CHUNK_SIZE} on lmcache-a, and CHUNK_SIZE=64"):
            asyncio.run(preflight([replace(fake.engine, chunk_size=64)]))


def test_what_an_engine_does_not_tell_is_labelled_and_not_taken_for_equal():
    assert compare_engines(engines(version=None), 256).unchecked == (
        "version is not reported by lmcache-b, so it was not compared",
    )
    assert compare_engines(engines(), 256).unchecked == ()


def test_a_restart_may_change_the_size_of_a_kv_cache_and_nothing_that_must_agree():
    assert changed_engines(engines(), engines(kv_cache_size_tokens="11648")) == []
    assert changed_engines(engines(), engines(version="0.31.0")) == ["version of lmcache-b was 0.32.0, and is 0.31.0"]


def test_another_size_of_kv_cache_is_noted():
    assert "11648 on lmcache-b" in compare_engines(engines(kv_cache_size_tokens="11648"), 256).mismatches[0]


def test_without_prefix_caching_there_is_nothing_to_measure():
    off = {**SOUND, "enable_prefix_caching": "False"}
    with pytest.raises(ConfigError, match="--enable-prefix-caching"):
        compare_engines({"one": off, "two": off}, 256)


@pytest.mark.parametrize("key", ["", "k"])
def test_a_server_that_wants_a_key_is_asked_with_it_for_all_its_facts(key):
    with FakeEngine(key="k") as fake:
        engine = replace(fake.engine, ours=False, key=SecretStr(key) if key else None)
        facts = asyncio.run(facts_of(engine))
    assert (facts["model"], facts["version"]) == (("fake", "0.32.0") if key else ("arena", None))


def test_an_engine_of_the_arena_must_tell_its_model():
    with FakeEngine(key="k") as fake, pytest.raises(EngineRefused) as caught:
        asyncio.run(facts_of(fake.engine))
    assert caught.value.status == 401


def test_where_nothing_runs_the_next_step_is_to_start_it():
    nowhere = Engine("plain-a", ServiceKind.PLAIN, "a", 9, "http://127.0.0.1:9")
    with pytest.raises(StackError, match=r"nothing runs.*\./arena up"):
        asyncio.run(read_engines([nowhere]))
    with FakeEngine() as fake:
        asyncio.run(read_engines([nowhere, fake.engine]))
