"""Who the page answers to: asked of a real page over HTTP, by header."""

import socket

import httpx
import pytest

from config.errors import ConfigError
from config.settings import Settings
from config.topology import Topology
from frontend.app import build
from frontend.app_state import AppState
from frontend.known_hosts import AllowedHosts
from frontend.server import launch


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Its address."""
    with socket.socket() as probe:  # the system's choice, which another run of the tests beside this one does not get
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings.from_env(
        {"ARENA_HOME": str(tmp_path_factory.mktemp("home")), "UI_PORT": str(port), "UI_ALLOWED_HOSTS": "arena.example"}
    )
    page = build(AppState.of(Topology.of(settings), settings, gpu_per_engine=False))
    launch(page, settings, wait=False)
    yield f"http://127.0.0.1:{port}"
    page.close(verbose=False)


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/queue/data?session_hash=x", "/gradio_api/upload", "/no"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", "a@127.0.0.1", "", "["]
)
def test_a_name_that_nobody_gave_the_page_is_refused_on_every_route_and_told_which_setting(page, path, host):
    for method in ("GET", "POST"):
        answer = httpx.request(method, page + path, headers={"Host": host})
        assert 400 <= answer.status_code < 500
        assert "UI_ALLOWED_HOSTS" in answer.text or not host


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "arena.example", "localhost."]
)
def test_loopback_and_names_of_the_setting_are_answered(page, host):
    assert httpx.get(page, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:3000", 403),
        ("http://127.0.0.1:7860", 422),  # it got through: what it posts is nothing
        ("https://arena.example", 422),
        (None, 422),
    ],
)
def test_a_post_from_another_sites_page_is_refused(page, origin, status):
    headers = {"Host": "127.0.0.1:7860"} | ({"Origin": origin} if origin else {})
    assert httpx.post(f"{page}/gradio_api/queue/join", headers=headers, json={}).status_code == status


@pytest.mark.parametrize(
    ("bind", "host", "known"),
    [
        ("127.0.0.1", "192.168.1.5:7860", False),
        ("0.0.0.0", "192.168.1.5:7860", True),
        ("::", "[fd00::5]:7860", True),
        ("0.0.0.0", "my-machine:7860", False),
        ("192.168.1.5", "192.168.1.5:7860", True),
        ("192.168.1.5", "192.168.1.6", False),
        ("my-machine", "My-Machine:80", True),
        ("192.168.1.5", "localhost", True),
    ],
)
def test_what_the_page_listens_on_says_which_addresses_it_answers_to(tmp_path, bind, host, known):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "BIND_HOST": bind})
    assert AllowedHosts.of(settings).know(host) is known


@pytest.mark.parametrize("value", ["http://arena.example", "arena.example:80", "a b", "a@b"])
def test_the_setting_takes_names_alone(tmp_path, value):
    with pytest.raises(ConfigError, match="UI_ALLOWED_HOSTS"):
        Settings.from_env({"ARENA_HOME": str(tmp_path), "UI_ALLOWED_HOSTS": value})
