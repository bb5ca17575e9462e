from contextlib import ExitStack

import pytest
from fake_engine import FakeEngine, Volume, topology_of
from fakes import a_reply
from page_builders import RecordingTab, a_picture, a_state, answered_by

from cache import wait_for_store
from client.reply import Delta, Sources
from config.errors import ArenaError, ConfigError, StackError
from config.topology import Topology
from frontend.restart import Restart
from frontend.tab_state import TabState
from frontend.tour import demo_steps, play_steps, restart_steps, tour_verdict

pytestmark = pytest.mark.anyio


async def answering(engine, _prompt, *, before_send):
    await before_send()
    ttft = 0.5 if engine.name == "lmcache-b" else 9.0
    yield Delta("so", ttft)
    yield a_reply(engine, ttft=ttft, prompt=200, sources=Sources(200, 0, 0))


def a_tab(topology, answer=answering):
    return RecordingTab(a_state(topology), answered_by(answer))


def captions(tab):
    return [caption for caption in dict.fromkeys(state.caption for state in tab.states) if caption]


async def test_the_tour_asks_four_engines_in_turn_and_ends_with_measured_numbers():
    volume = Volume()
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeEngine(name)) for name in ("plain-a", "plain-b")]
        fakes += [stack.enter_context(FakeEngine(name, volume=volume)) for name in ("lmcache-a", "lmcache-b")]
        topology = topology_of(fakes)
        tab = RecordingTab(TabState.with_handbook(topology.engines))
        await play_steps(tab, topology, demo_steps())
        assert [fake.asked for fake in fakes] == [1, 1, 1, 1]
    *steps, verdict = captions(tab)
    assert [caption[:6] for caption in steps] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert verdict == tour_verdict(tab.state)
    assert tab.state.race.panes["lmcache-b"].reply.source == "shared volume"


async def test_two_engines_alone_are_toured_without_the_plain_ones(settings):
    topology = Topology.of(settings.model_copy(update={"engines": 2}))
    tab = a_tab(topology)
    await play_steps(tab, topology, demo_steps())
    assert captions(tab)[0].startswith("1 of 2")
    assert "18.0 times sooner" in tab.state.caption


async def test_a_tour_ends_where_an_engine_does_not_answer(topology):
    async def dead(engine, _prompt, **_):
        raise StackError(f"{engine.name} is down")
        yield

    with pytest.raises(ArenaError, match="plain-a is down"):
        await play_steps(a_tab(topology, dead), topology, demo_steps())


@pytest.mark.parametrize(
    ("cache_server", "services", "source"),
    [(True, ("cache-a", "lmcache-a"), "shared volume"), (False, ("lmcache-a",), "shared")],
    ids=["a cache server", "a connector in the engine's process"],
)
async def test_the_volume_remembers_what_a_restarted_engine_has_forgotten(
    tmp_path, monkeypatch, cache_server, services, source
):
    monkeypatch.setattr(wait_for_store, "QUIET_S", 0.1)
    with FakeEngine("lmcache-a", volume=Volume(folder=None if cache_server else tmp_path)) as fake:
        restarted = []

        class Restarting(Restart):
            async def run(self, services):
                restarted.append(tuple(services))
                fake.restart()

        topology = topology_of([fake])
        tab = RecordingTab(TabState.with_handbook(topology.engines))
        await restart_steps(tab, topology, Restarting(("restart",)), poll_s=0.01)
    assert restarted == [services]
    assert [caption[:6] for caption in captions(tab)][:2] == ["1 of 4", "2 of 4"]
    assert tab.state.caption.endswith(f"the prompt came from: {source}.")


async def test_where_the_page_may_restart_nothing_no_engine_is_asked(topology):
    tab = a_tab(topology)
    with pytest.raises(ConfigError, match="RESTART_COMMAND"):
        await restart_steps(tab, topology, Restart())
    assert tab.states == []


async def test_a_restart_that_fails_says_why():
    restart = Restart.of({"RESTART_COMMAND": "sh -c 'echo no such service >&2; exit 1'"})
    with pytest.raises(StackError, match="no such service"):
        await restart.run(("lmcache-a",))


async def test_a_tour_of_media_leaves_the_visitors_document_alone(topology):
    tab = a_tab(topology)
    await play_steps(tab, topology, demo_steps(), (a_picture("cat"),))
    assert (tab.state.name, tab.state.document) == ("a name", "A document.")
    assert {pane.prompt.document for pane in tab.state.race.panes.values()} == {""}
    assert tab.state.context(tab.state.race.prompt) == "No document"
    assert "times sooner" in tab.state.caption
