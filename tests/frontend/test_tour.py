import asyncio

import pytest
from fake_engine import FakeEngine, Volume, topology_of
from fakes import a_reply, collect

from client.reply import Delta, Sources
from config.errors import ArenaError, ConfigError, StackError
from frontend.restart import Restart
from frontend.tab_state import TabState
from frontend.tour import demo_steps, play_steps, restart_steps, tour_verdict
from media import Media, Modality


async def answering(engine, _prompt, _sent):
    ttft = 0.5 if engine.name == "lmcache-b" else 9.0
    yield Delta("so", ttft)
    yield a_reply(engine, ttft=ttft, prompt=200, sources=Sources(200, 0, 0))


def test_the_tour_asks_four_engines_in_turn_and_ends_with_measured_numbers():
    volume = Volume()
    fakes = [FakeEngine(name) for name in ("plain-a", "plain-b")]
    fakes += [FakeEngine(name, volume=volume) for name in ("lmcache-a", "lmcache-b")]
    for fake in fakes:
        fake.__enter__()
    try:
        topology = topology_of(fakes)
        visits = collect(play_steps(TabState.of_the_handbook(topology.engines), topology, demo_steps()))
    finally:
        for fake in fakes:
            fake.__exit__()
    captions = list(dict.fromkeys(visit.caption for visit in visits))
    assert [caption[:6] for caption in captions[:4]] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert captions[-1] == tour_verdict(visits[-1])
    assert visits[-1].race.panes["lmcache-b"].reply.source == "shared volume"
    assert [fake.asked for fake in fakes] == [1, 1, 1, 1]


def test_two_engines_alone_are_toured_without_the_plain_ones(settings):
    from config.topology import Topology

    topology = Topology.of(settings.model_copy(update={"engines": 2}))
    visits = collect(play_steps(TabState.begin(topology.engines, "a", "b"), topology, demo_steps(), ask=answering))
    assert visits[0].caption.startswith("1 of 2")
    assert "18.0 times sooner" in visits[-1].caption


def test_a_tour_ends_where_an_engine_does_not_answer(topology):
    async def dead(engine, _prompt, _sent):
        raise StackError(f"{engine.name} is down")
        yield

    with pytest.raises(ArenaError, match="plain-a is down"):
        collect(play_steps(TabState.begin(topology.engines, "a", "b"), topology, demo_steps(), ask=dead))


def test_the_volume_remembers_what_a_restarted_engine_has_forgotten():
    with FakeEngine("lmcache-a", volume=Volume()) as fake:
        topology = topology_of([fake])
        told = []

        class Restarting(Restart):
            async def run(self, services):
                told.append(tuple(services))
                fake.restart()

        visits = collect(
            restart_steps(TabState.of_the_handbook(topology.engines), topology, Restarting(("restart",)), poll_s=0.01)
        )
    assert told == [("cache-a", "lmcache-a")]
    assert "shared volume" in visits[-1].caption


def test_where_the_page_may_restart_nothing_nobody_is_asked_and_nothing_waited_for(topology):
    with pytest.raises(ConfigError, match="RESTART_COMMAND"):
        collect(restart_steps(TabState.begin(topology.engines, "a", "b"), topology, Restart(), ask=answering))


def test_a_restart_that_fails_says_why():
    restart = Restart.of({"RESTART_COMMAND": "sh -c 'echo no such service >&2; exit 1'"})
    with pytest.raises(StackError, match="no such service"):
        asyncio.run(restart.run(("lmcache-a",)))


def test_a_tour_of_media_leaves_the_visitors_document_alone(topology):
    picture = Media(Modality.IMAGE, "cat.png", "image/png", "AAAA", 3)
    visit = TabState.begin(topology.engines, "notes.md", "A document.")
    last = collect(play_steps(visit, topology, demo_steps(), (picture,), ask=answering))[-1]
    assert (last.name, last.document) == ("notes.md", "A document.")
    assert {pane.prompt.document for pane in last.race.panes.values()} == {""}
    assert last.context(last.race.prompt) == "No document"
    assert "times sooner" in last.caption
