import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_engine import FakeEngine, Volume, topology_of

from cache.volume import current_namespace
from config.errors import ConfigError
from config.settings import Settings
from config.topology import Topology
from frontend.app import build
from frontend.app_state import AppState
from frontend.bench_tab import BenchHandlers
from frontend.document_info import document_html
from frontend.login import login, refusal
from frontend.race_handlers import RaceHandlers
from frontend.restart import Restart
from frontend.server import QUEUE
from frontend.stack_status import read_stack, stack_commands, volume_state
from frontend.stack_view import panel
from frontend.tab_state import DocumentSize


def test_the_panel_says_what_engines_and_cache_servers_say(settings):
    with FakeEngine("plain-a") as plain, FakeEngine("lmcache-b", volume=Volume()) as shared:
        topology = topology_of([plain, shared])
        state = asyncio.run(read_stack(topology, settings))
        html = panel(state, stack_commands(topology, settings))
    assert [(each.healthy, each.model, each.context) for each in state.engines] == [(True, "fake", 8192)] * 2
    assert [each.healthy for each in state.caches] == [True]
    assert "vllm serve" in html
    assert "lmcache server" in html


def test_services_that_are_down_are_shown_as_such(tmp_path):
    settings = Settings.from_env(
        {"ARENA_HOME": str(tmp_path), "ENGINE_URL": "http://127.0.0.1:9", "CACHE_URL": "http://127.0.0.1:9"}
    )
    topology = Topology.of(settings)
    assert panel(asyncio.run(read_stack(topology, settings)), {}).count("no answer") == 6


def test_the_volumes_size_is_that_of_its_namespace(settings):
    folder = current_namespace(settings)
    assert volume_state(settings).free is None
    settings.kv_store_dir.mkdir(parents=True)
    assert volume_state(settings).used == 0
    assert volume_state(settings).free > 0
    folder.mkdir()
    (folder / "chunk.data").write_bytes(b"x" * 1000)
    (folder / "evicted.data").symlink_to("nowhere")  # listed, and not there any more
    state = volume_state(settings)
    assert (state.used, state.files) == (1000, 1)
    assert state.free > 0


def test_no_command_line_shows_a_secret(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "HF_TOKEN": "s3cret", "UI_PASSWORD": "s3cret"})
    assert "s3cret" not in str(stack_commands(Topology.of(settings), settings))
    assert "s3cret" not in str(settings.to_env())


def test_a_document_that_does_not_fit_says_by_how_much():
    assert "1,000 tokens too many" in document_html(DocumentSize("a name", 9192, 8192), "n", None)
    assert "MiB of KV" in document_html(DocumentSize("a name", 4096, 8192), "n", 46_080)
    assert "not counted" in document_html(DocumentSize("<b>"), "n", None)


def test_a_login_needs_both_and_checks_both(tmp_path):
    def of(**env):
        return login(Settings.from_env({"ARENA_HOME": str(tmp_path), **env}))

    assert of() is None
    check = of(UI_USERNAME="me", UI_PASSWORD="pass")
    assert [check("me", "pass"), check("me", "no"), check("you", "pass")] == [True, False, False]
    (tmp_path / "secret").write_text("filed\n")
    assert of(UI_USERNAME="me", UI_PASSWORD_FILE=str(tmp_path / "secret"))("me", "filed")
    for half in (
        {"UI_USERNAME": "me"},
        {"UI_PASSWORD": "pass"},
        {"UI_USERNAME": "me", "UI_PASSWORD_FILE": "/no/where"},
    ):
        with pytest.raises(ConfigError, match="UI_"):
            of(**half)


def test_the_page_has_its_tabs_and_offers_each_engine_and_both_pairs(topology, settings):
    page = build(AppState.of(topology, settings, pinned=False))
    tabs = [block.label for block in page.blocks.values() if type(block).__name__ == "Tab"]
    assert tabs == ["Race", "History", "Stack", "Bench"]
    target = next(block for block in page.blocks.values() if block.elem_id == "target")
    assert [value for _, value in target.choices] == ["all", "lmcache", "plain", *(e.name for e in topology.engines)]


def test_gradio_has_what_is_set_behind_its_back(topology, settings):
    queue = build(AppState.of(topology, settings, pinned=False)).queue()._queue
    assert {name: type(getattr(queue, name, None)) for name in QUEUE} == {n: type(value) for n, value in QUEUE.items()}


LOGIN = {"UI_USERNAME": "me", "UI_PASSWORD": "pass"}


@pytest.mark.parametrize(
    ("env", "environ", "refused"),
    [
        ({}, {}, False),
        ({"BIND_HOST": "localhost"}, {}, False),
        ({"BIND_HOST": "::1"}, {}, False),
        ({"BIND_HOST": "0.0.0.0"}, {}, True),
        ({"BIND_HOST": "192.168.1.5"}, {}, True),
        ({"BIND_HOST": "my-machine"}, {}, True),
        ({"BIND_HOST": "0.0.0.0", **LOGIN}, {}, False),
        ({"BIND_HOST": "0.0.0.0"}, {"UI_PUBLISHED_ON": "127.0.0.1"}, False),
        ({"BIND_HOST": "0.0.0.0"}, {"UI_PUBLISHED_ON": "10.0.0.1"}, True),
    ],
)
def test_where_others_reach_the_page_restarts_and_benchmarks_want_a_login(tmp_path, env, environ, refused):
    why = refusal(Settings.from_env({"ARENA_HOME": str(tmp_path), **env}), environ)
    assert bool(why) is refused
    assert ("UI_PASSWORD" in why) is refused


def test_a_locked_page_refuses_them_in_words_and_says_so_where_the_buttons_are(topology, settings):
    house = replace(
        AppState.of(topology, settings, pinned=False, locked="set UI_PASSWORD"), restart=Restart(("restart",))
    )
    blocks = {block.elem_id: block for block in build(house).blocks.values()}
    assert "tour-volume" not in blocks
    assert "UI_PASSWORD" in blocks["no-restart"].value
    assert "UI_PASSWORD" in blocks["bench-locked"].value
    assert not blocks["bench-run"].interactive

    async def try_all():
        bench = BenchHandlers(house.studies, house.must_be_open)
        with pytest.warns(UserWarning, match="UI_PASSWORD"):
            await bench.start("aa", 5)
        with pytest.warns(UserWarning, match="UI_PASSWORD"):
            await bench.cancel()
        with pytest.warns(UserWarning, match="UI_PASSWORD"):
            _ = [frame async for frame in RaceHandlers(house).remember(SimpleNamespace(session_hash="tab"))]

    asyncio.run(try_all())
    assert house.studies.now is None
