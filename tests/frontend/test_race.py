"""How engines are asked, and what their panes then are."""

import asyncio
import time

import pytest
from fake_engine import FakeEngine
from fakes import a_reply
from page_builders import PROMPT, a_state

from client.prompt import Prompt, Turn
from client.reply import Delta, Sources
from config.errors import EngineUnreachable, StackError
from frontend.race import REPAINT_S, Pane, PaneStatus, Race, ask_all, ask_groups


async def answering(engine, _prompt, *, before_send):
    """Plain engines take nine seconds, LMCache engines half of one; nothing is left to store."""
    await before_send()
    ttft = 0.5 if engine.cache else 9.0
    yield Delta("an ", ttft)
    yield Delta("answer", ttft + 0.1)
    sources = Sources(88, 0, 6912, l2=6912) if engine.cache else Sources(7000, 0, 0)
    yield a_reply(engine, ttft=ttft, cached=6912 if engine.cache else 0, sources=sources)


async def computing(engine, _prompt, *, before_send):
    """Leaves 27 chunks to store."""
    await before_send()
    yield Delta("an answer", 9.0)
    yield a_reply(engine, ttft=9.0, sources=Sources(7000, 0, 0))


async def nothing_stored(_cache):
    return 0


def races_of(topology, ask=answering, *, stored=nothing_stored, gpu_per_engine=False, until=None):
    """The race at each change, all engines asked; it is stopped when `until` is true of it."""
    races = [a_state(topology).with_prompt(PROMPT, topology.engines).race]
    groups = ask_groups(topology.engines, gpu_per_engine=gpu_per_engine)

    async def run():
        enough = asyncio.Event()

        def show(pane):
            races.append(races[-1].with_pane(pane))
            if until and until(races[-1].panes):
                enough.set()

        asking = asyncio.create_task(ask_all(groups, PROMPT, show, ask=ask, stored=stored))
        if until:
            await enough.wait()
            asking.cancel()
            await asyncio.wait({asking})
        else:
            await asking

    asyncio.run(run())
    return races


def test_every_pane_ends_with_its_engines_reply_and_engines_are_asked_one_after_the_other(topology):
    races = races_of(topology)
    assert {pane.text for pane in races[-1].panes.values()} == {"an answer"}
    assert races[-1].panes["lmcache-b"].reply.ttft == 0.5
    at_once = [sum(bool(p.text) and p.status is not PaneStatus.DONE for p in race.panes.values()) for race in races]
    assert max(at_once) == 1
    statuses = dict.fromkeys(race.panes["plain-a"].status for race in races)
    assert list(statuses) == ["queued", "asked", "answering", "done"]


def test_engines_with_gpus_of_their_own_start_together_on_each_side_and_b_waits_for_a(topology):
    groups = ask_groups(topology.engines, gpu_per_engine=True)
    assert [[e.name for e in group] for group in groups] == [["plain-a", "lmcache-a"], ["plain-b", "lmcache-b"]]
    started, both_of_a_side = [], asyncio.Barrier(2)

    async def ask(engine, prompt, *, before_send):
        started.append(engine.name)
        await both_of_a_side.wait()
        async for event in answering(engine, prompt, before_send=before_send):
            yield event

    race = races_of(topology, ask, gpu_per_engine=True)[-1]
    assert all(pane.reply for pane in race.panes.values())
    assert set(started[:2]) == {"plain-a", "lmcache-a"}


def test_stopping_a_race_closes_the_requests_of_all_who_were_asked_together(topology):
    closed = []

    async def ask(engine, _prompt, **_):
        try:
            yield Delta("an ", 0.1)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # as closing a connection may
            closed.append(engine.name)

    side_a = ("plain-a", "lmcache-a")
    races_of(topology, ask, gpu_per_engine=True, until=lambda panes: all(panes[name].text for name in side_a))
    assert sorted(closed) == sorted(side_a)


@pytest.mark.parametrize(("delta", "text"), [((), ""), ((Delta("half an", 1.0),), "half an")])
def test_an_engine_that_fails_keeps_its_text_and_says_why_and_the_others_answer(topology, delta, text):
    async def ask(engine, prompt, *, before_send):
        if engine.name == "plain-b":
            for each in delta:
                yield each
            raise EngineUnreachable("plain-b", "gone")
        async for event in answering(engine, prompt, before_send=before_send):
            yield event

    panes = races_of(topology, ask)[-1].panes
    assert (panes["plain-b"].text, panes["plain-b"].fault) == (text, "plain-b: gone")
    assert all(panes[name].reply for name in ("plain-a", "lmcache-a", "lmcache-b"))


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        (Prompt("And?", "A document.", "n0nce"), True),
        (Prompt("Why?", "A document.", "other"), False),
        (Prompt("And?", "A document.", "n0nce", turns=(Turn("Why?", "an answer"),)), False),
    ],
)
def test_panes_stay_for_another_question_with_the_same_prefix_and_go_with_another(topology, prompt, kept):
    assert bool(races_of(topology)[-1].about(prompt).panes["plain-a"].reply) is kept


def test_a_pane_knows_when_its_request_was_sent_and_keeps_reasoning_apart(topology):
    async def ask(_engine, _prompt, *, before_send):
        await before_send()
        yield Delta("Well. ", 0.4, reasoning=True)
        yield Delta("So.", 0.5)

    before = time.time()
    pane = races_of(topology, ask)[-1].panes["plain-a"]
    assert before <= pane.sent <= pane.first
    assert (pane.ttft, pane.reasoning, pane.text) == (0.4, "Well. ", "So.")


def test_an_engine_that_is_asked_in_a_moment_has_not_been_asked():
    pane = Pane("plain-a", PaneStatus.ASKED, PROMPT, pause_s=60, sent=time.time() + 60)
    assert pane.ended(PaneStatus.STOPPED, "stopped") == Pane("plain-a")


def test_an_engine_answers_while_its_cache_server_is_down(topology):
    async def down(_cache):
        raise StackError("cache-a does not answer")

    assert all(pane.reply for pane in races_of(topology, computing, stored=down)[-1].panes.values())


def test_a_store_that_fails_does_not_spoil_the_answer(topology):
    counts = iter([100, 0, 100, 0])  # fewer than before: the cache server was started anew

    async def restarted(_cache):
        return next(counts)

    races = races_of(topology, computing, stored=restarted)
    pane = races[-1].panes["lmcache-a"]
    assert PaneStatus.STORING in {race.panes["lmcache-a"].status for race in races}
    assert (pane.reply.ttft, pane.fault, pane.status) == (9.0, "", PaneStatus.DONE)
    assert pane.note.startswith("not stored")


def test_an_answer_that_is_stopped_while_it_is_stored_is_complete(topology):
    races = races_of(topology, computing, until=lambda panes: panes["lmcache-a"].status is PaneStatus.STORING)
    pane = races[-1].ended(PaneStatus.STOPPED, "stopped").panes["lmcache-a"]
    assert (pane.status, pane.fault, pane.note) == (PaneStatus.DONE, "", "not stored: stopped")


def test_the_browser_draws_before_the_request_is_sent_and_nothing_stands_between_both():
    """A clock that started after counters had been read again would be early by as long as that takes."""
    with FakeEngine() as fake:
        seen, metrics = [], fake.metrics
        fake.metrics = lambda path: [seen.append("counted"), metrics(path)][1]
        asking = ask_all(((fake.engine,),), Prompt("What is a codec?"), lambda pane: seen.append(pane), pause_s=0.05)
        before = time.time()
        asyncio.run(asking)
    shown = [pane if isinstance(pane, str) else pane.status for pane in seen]
    assert list(dict.fromkeys(shown)) == ["counted", "asked", "answering", "done"]
    assert shown[-2:] == ["counted", "done"]
    asked, answering, done = seen[1], seen[2], seen[-1]
    assert asked.pause_s == 0.05
    assert before + 0.05 <= asked.sent <= answering.first
    assert (done.reply.text, REPAINT_S) == ("it copies frames around ", 0.3)


def test_empty_panes_are_in_the_order_of_the_topology(topology):
    assert list(Race.of(topology.engines).panes) == [engine.name for engine in topology.engines]
