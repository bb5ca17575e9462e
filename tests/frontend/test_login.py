"""Who may log in, and what visitors may do on a page that other machines reach without a login."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from config.errors import ConfigError
from config.settings import Settings
from frontend.app import build
from frontend.app_state import AppState
from frontend.bench_tab import BenchHandlers
from frontend.login import login, refusal
from frontend.race_handlers import RaceHandlers
from frontend.restart import Restart

LOGIN = {"UI_USERNAME": "me", "UI_PASSWORD": "pass"}


def settings_of(tmp_path, **env):
    return Settings.from_env({"ARENA_HOME": str(tmp_path), **env})


def test_a_login_checks_name_and_password(tmp_path):
    assert login(settings_of(tmp_path)) is None
    check = login(settings_of(tmp_path, **LOGIN))
    assert [check("me", "pass"), check("me", "no"), check("you", "pass")] == [True, False, False]
    (tmp_path / "secret").write_text("filed\n")
    assert login(settings_of(tmp_path, UI_USERNAME="me", UI_PASSWORD_FILE=str(tmp_path / "secret")))("me", "filed")


@pytest.mark.parametrize(
    "half", [{"UI_USERNAME": "me"}, {"UI_PASSWORD": "pass"}, {"UI_USERNAME": "me", "UI_PASSWORD_FILE": "/no/where"}]
)
def test_half_a_login_is_refused(tmp_path, half):
    with pytest.raises(ConfigError, match="UI_"):
        login(settings_of(tmp_path, **half))


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
def test_where_others_reach_the_page_restarts_and_benchmarks_need_a_login(tmp_path, env, environ, refused):
    why = refusal(settings_of(tmp_path, **env), environ)
    assert bool(why) is refused
    assert ("UI_PASSWORD" in why) is refused


@pytest.mark.anyio
async def test_a_locked_page_refuses_them_and_says_so_where_the_buttons_are(topology, settings):
    app = replace(
        AppState.of(topology, settings, gpu_per_engine=False, read_only_reason="set UI_PASSWORD"),
        restart=Restart(("restart",)),
    )
    blocks = {block.elem_id: block for block in build(app).blocks.values()}
    assert "tour-volume" not in blocks
    assert "UI_PASSWORD" in blocks["no-restart"].value
    assert "UI_PASSWORD" in blocks["bench-locked"].value
    assert not blocks["bench-run"].interactive

    bench, tab = BenchHandlers(app.bench_runner, app.check_not_read_only), SimpleNamespace(session_hash="tab")
    for refused in (bench.start("aa", 5), bench.cancel(), anext(RaceHandlers(app).restart_tour(tab))):
        with pytest.warns(UserWarning, match="UI_PASSWORD"):
            await refused
    assert app.bench_runner.now is None
