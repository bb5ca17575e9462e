import asyncio
import itertools
from dataclasses import replace

import pytest
from bench_rows import a_bench
from fakes import a_reply, collect

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, TTFT_ARMS
from bench.measure import run_trials
from bench.plan import assign_roles, plan
from client.prompt import Prompt
from client.reply import Sources
from config.errors import ContextTooLong, EngineUnreachable, StackError

QUESTION = Prompt("what?", "a document")


def ask_with(nonce):
    return replace(QUESTION, nonce=nonce)


async def cold(engine, _prompt):
    return a_reply(engine, sources=Sources(7000, 0, 0))


def measured(topology, bench, arms=TTFT_ARMS, documents=2):
    return collect(run_trials(plan(arms, assign_roles(topology), [7000] * documents, seed=0), ask_with, bench, 0.0))


def test_each_document_goes_through_every_arm_before_the_next_with_a_nonce_of_its_own(topology):
    asked = []

    async def ask(engine, prompt):
        asked.append((engine.name, prompt.nonce))
        return a_reply(engine)

    samples = measured(topology, a_bench(ask))
    assert [s.document for s in samples] == [0] * 6 + [1] * 6
    assert {s.arm for s in samples[:6]} == {arm.name for arm in TTFT_ARMS}
    assert [(s.engine, s.nonce) for s in samples] == asked
    assert len({s.nonce for s in samples}) == 2


def test_writer_and_reader_swap_half_way(topology):
    samples = measured(topology, a_bench(cold))
    writers = [s.engine for s in samples if s.arm == "first_sight"]
    readers = [s.engine for s in samples if s.arm == "cross_read"]
    assert (writers, readers) == (["lmcache-a", "lmcache-b"], ["lmcache-b", "lmcache-a"])


def test_an_engine_that_fails_is_a_sample_with_its_reason_and_the_run_goes_on(topology):
    async def ask(engine, _prompt):
        if engine.name == "plain-b":
            raise EngineUnreachable("plain-b", "no answer")
        return a_reply(engine, sources=Sources(7000, 0, 0))

    samples = measured(topology, a_bench(ask), documents=1)
    failed = next(s for s in samples if s.arm == "other_instance")
    assert (failed.ttft_ms, failed.reason, failed.valid) == (None, "plain-b: no answer", False)
    assert len(samples) == 6


def test_when_nothing_answers_any_more_the_run_ends_with_the_next_step(topology):
    async def ask(engine, _prompt):
        raise EngineUnreachable(engine.name, "no answer")

    with pytest.raises(StackError, match="--resume"):
        measured(topology, a_bench(ask))


def test_a_document_that_cannot_be_fitted_because_no_engine_answers_ends_the_run(topology):
    async def fit(engine, _prompt, _tokens):
        raise EngineUnreachable(engine.name, "no answer")

    with pytest.raises(StackError):
        measured(topology, a_bench(cold, fit_prompt=fit))


def test_a_prompt_that_cannot_be_so_short_is_a_row_and_the_run_goes_on(topology):
    async def fit(_engine, _prompt, _tokens):
        raise ContextTooLong(200, 128)

    samples = measured(topology, a_bench(cold, fit_prompt=fit), arms=(COLD, FIRST_SIGHT), documents=2)
    assert {(s.error, s.valid) for s in samples} == {("ContextTooLong", False)}
    assert len(samples) == 4


def test_the_preparation_runs_before_every_read_and_outside_the_clock(topology):
    order = []

    async def prepare():
        order.append("prepare")

    async def ask(engine, _prompt):
        order.append(engine.name)
        return a_reply(engine)

    measured(topology, a_bench(ask, prepare=prepare), arms=(FIRST_SIGHT, CROSS_READ), documents=1)
    assert order == ["lmcache-a", "prepare", "lmcache-b"]


def test_the_time_until_the_store_was_complete_is_kept(topology):
    ticks = itertools.count()
    samples = measured(topology, a_bench(cold, clock=lambda: next(ticks)), arms=(COLD, FIRST_SIGHT), documents=1)
    stored = {s.arm: s.stored_s for s in samples}
    assert stored["cold"] is None
    assert stored["first_sight"] == 1


def test_leaving_a_run_early_leaves_nothing_behind(topology):
    async def first():
        samples = run_trials(plan(TTFT_ARMS, assign_roles(topology), [7000], 0), ask_with, a_bench(cold), 0.0)
        async for _ in samples:
            break
        await samples.aclose()

    asyncio.run(first())
