import asyncio
import time
from dataclasses import replace

import pytest
from fake_engine import Behaviour, FakeEngine
from fakes import a_reply, collect

from client.prompt import Prompt, Turn
from client.reply import Delta, Sources
from config.errors import DocumentError, EngineUnreachable, StackError
from config.settings import Settings
from config.topology import Topology
from frontend import race as racing
from frontend.question_options import DEFAULT_OPTIONS
from frontend.race import PaneStatus, Race
from frontend.tab_state import TabState
from media import Media, Modality

PROMPT = Prompt("Why?", "A document.", "n0nce")


async def answering(engine, _prompt, _sent):
    """Plain engines take nine seconds, lmcache engines half a one; nothing is left to store."""
    ttft = 0.5 if engine.cache else 9.0
    yield Delta("an ", ttft)
    yield Delta("answer", ttft + 0.1)
    sources = Sources(88, 0, 6912, l2=6912) if engine.cache else Sources(7000, 0, 0)
    yield a_reply(engine, ttft=ttft, cached=6912 if engine.cache else 0, sources=sources)


async def stored(_cache):
    return 0


def in_turn(topology):
    return racing.ask_groups(topology.engines, pinned=False)


def last_of(topology, ask=answering, prompt=PROMPT, race=None, heats=None):
    races = collect(racing.ask_all(race or Race.of(topology.engines), heats or in_turn(topology), prompt, ask, stored))
    return races[-1], races


def test_every_pane_ends_with_its_engines_reply(topology):
    race, _ = last_of(topology)
    assert {name: pane.text for name, pane in race.panes.items()} == dict.fromkeys(race.panes, "an answer")
    assert race.panes["lmcache-b"].reply.ttft == 0.5


def test_engines_are_asked_one_after_the_other(topology):
    _, races = last_of(topology)
    answering_at_once = [sum(bool(p.text) and p.reply is None for p in race.panes.values()) for race in races]
    assert max(answering_at_once) == 1


def test_engines_with_gpus_of_their_own_start_together_on_each_side_and_b_waits_for_a(topology):
    heats = racing.ask_groups(topology.engines, pinned=True)
    assert [[e.name for e in heat] for heat in heats] == [["plain-a", "lmcache-a"], ["plain-b", "lmcache-b"]]
    started, both_of_a_side = [], asyncio.Barrier(2)

    async def ask(engine, prompt, sent):
        started.append(engine.name)
        await both_of_a_side.wait()
        async for event in answering(engine, prompt, sent):
            yield event

    race, _ = last_of(topology, ask, heats=heats)
    assert all(pane.reply for pane in race.panes.values())
    assert set(started[:2]) == {"plain-a", "lmcache-a"}


def test_stopping_a_race_closes_the_requests_of_all_who_were_asked_together(topology):
    closed = []

    async def ask(engine, _prompt, _sent):
        try:
            yield Delta("an ", 0.1)
            await asyncio.Event().wait()
        finally:
            closed.append(engine.name)

    async def stop():
        races = racing.ask_all(
            Race.of(topology.engines), racing.ask_groups(topology.engines, pinned=True), PROMPT, ask, stored
        )
        async for race in races:
            if all(race.panes[name].text for name in ("plain-a", "lmcache-a")):
                break
        await races.aclose()

    asyncio.run(stop())
    assert sorted(closed) == ["lmcache-a", "plain-a"]


def test_an_engine_that_is_down_says_so_and_the_others_answer(topology):
    async def ask(engine, prompt, sent):
        if engine.name == "plain-b":
            raise EngineUnreachable("plain-b", "no answer; it is down or still starting")
        async for event in answering(engine, prompt, sent):
            yield event

    race, _ = last_of(topology, ask)
    assert "down" in race.panes["plain-b"].fault
    assert all(race.panes[name].reply for name in ("plain-a", "lmcache-a", "lmcache-b"))


def test_an_answer_that_breaks_off_keeps_its_text(topology):
    async def ask(engine, _prompt, _sent):
        yield Delta("half an", 1.0)
        raise EngineUnreachable(engine.name, "gone")

    race, _ = last_of(topology, ask)
    assert (race.panes["plain-a"].text, race.panes["plain-a"].fault) == ("half an", "plain-a: gone")


def test_a_pane_says_when_its_engine_is_really_asked(topology):
    async def ask(engine, prompt, sent):
        sent(0)
        async for event in answering(engine, prompt, sent):
            yield event

    _, races = last_of(topology, ask)
    stages = list(dict.fromkeys(race.panes["plain-a"].stage for race in races))
    assert stages == [PaneStatus.IDLE, PaneStatus.QUEUED, PaneStatus.ASKED, PaneStatus.ANSWERING, PaneStatus.DONE][1:]


def test_panes_stay_for_another_question_about_the_same_document_and_go_with_a_new_nonce(topology):
    race, _ = last_of(topology)
    assert race.about(Prompt("And?", "A document.", "n0nce")).panes["plain-a"].reply
    assert race.about(Prompt("Why?", "A document.", "other")).panes["plain-a"].reply is None


def test_a_follow_up_opens_otherwise_than_the_first_question_so_the_panes_go(topology):
    race, _ = last_of(topology)
    follow_up = Prompt("And?", "A document.", "n0nce", turns=(Turn("Why?", "an answer"),))
    assert race.about(follow_up).panes["plain-a"].reply is None


def test_a_pane_knows_when_its_request_went_out_and_keeps_reasoning_apart(topology):
    async def ask(engine, prompt, sent):
        sent(0)
        yield Delta("Well. ", 0.4, reasoning=True)
        async for event in answering(engine, prompt, sent):
            yield event

    before = time.time()
    pane = last_of(topology, ask)[0].panes["plain-a"]
    assert before <= pane.sent <= pane.first
    assert (pane.ttft, pane.reasoning, pane.text) == (0.4, "Well. ", "an answer")


def test_starting_cold_keeps_the_document_and_changes_the_nonce(topology):
    visit = TabState.of_the_handbook(topology.engines)
    cold = visit.cold()
    assert cold.document == visit.document
    assert cold.nonce != visit.nonce


@pytest.mark.parametrize(("stand_in", "media", "turns"), [(True, 1, 0), (True, 0, 1), (True, 0, 0), (False, 1, 1)])
def test_eyes_of_random_weights_do_not_end_an_answer_before_its_first_word(topology, stand_in, media, turns):
    picture = Media(Modality.IMAGE, "cat.png", "image/png", "AAAA", 3)
    visit = replace(TabState.of_the_handbook(topology.engines), stand_in=stand_in).without_document()
    prompt = visit._prompt("Why?", DEFAULT_OPTIONS, (picture,) * media, (Turn("What?", "A cat.", (picture,)),) * turns)
    assert prompt.ignore_eos is (stand_in and media + turns > 0)


def test_a_file_that_is_no_text_leaves_the_visit_as_it_was(topology, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(DocumentError, match=r"picture\.png is not UTF-8"):
        TabState.of_the_handbook(topology.engines).with_file(path)


def test_an_empty_question_asks_nobody(topology):
    visit = TabState.of_the_handbook(topology.engines)
    with pytest.raises(DocumentError, match="empty"):
        collect(visit.asking(in_turn(topology), " ", ask=answering))


def test_with_no_engine_up_the_document_is_shown_uncounted():
    topology = Topology.of(Settings.from_env({"ENGINE_URL": "http://127.0.0.1:9"}))
    assert asyncio.run(TabState.of_the_handbook(topology.engines).facts()).tokens is None


def test_an_engine_answers_while_its_cache_server_is_down(topology):
    async def down(_cache):
        raise StackError("cache-a does not answer")

    races = collect(racing.ask_all(Race.of(topology.engines), in_turn(topology), PROMPT, answering, down))
    assert all(pane.reply for pane in races[-1].panes.values())


def test_a_store_that_fails_does_not_spoil_the_answer(topology):
    async def ask(engine, _prompt, _sent):
        yield Delta("an answer", 9.0)
        yield a_reply(engine, ttft=9.0, sources=Sources(7000, 0, 0))

    counts = iter([100, 0, 100, 0])  # fewer than before: the cache server was started anew

    async def restarted(_cache):
        return next(counts)

    races = collect(racing.ask_all(Race.of(topology.engines), in_turn(topology), PROMPT, ask, restarted))
    pane = races[-1].panes["lmcache-a"]
    assert (pane.reply.ttft, pane.fault) == (9.0, "")
    assert pane.note.startswith("not stored")


def test_the_document_is_counted_for_a_model_without_a_system_role():
    with FakeEngine("plain-a", Behaviour(user_only=True)) as fake:
        facts = asyncio.run(TabState.begin((fake.engine,), "a name", "three small words").facts())
    assert (facts.name, facts.tokens > 3) == ("a name", True)
