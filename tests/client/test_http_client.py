import asyncio

import httpx
import pytest
from fake_engine import FakeEngine
from fakes import plain_engine

from client.http_client import engine_proxy, http_client, local_http_client, read_body, url_proxy
from client.metrics import read_counters
from client.model_list import served_model
from config.errors import ConfigError


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"http_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "engine"}, None),
        ({"https_proxy": "http://proxy:3128"}, None),
        ({"http_proxy": "proxy:3128"}, "http://proxy:3128"),
        ({"all_proxy": "socks5://proxy:1080"}, None),
    ],
)
def test_the_machines_proxy_is_used_unless_it_is_not_for_this_host(monkeypatch, environ, proxy):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert url_proxy("http://engine:8000") == proxy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "[::1]", "page.localhost"])
def test_no_proxy_is_used_for_this_machine(monkeypatch, host):
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert url_proxy(f"http://{host}:8000") is None


def test_no_proxy_is_used_for_an_engine_of_the_arena_on_another_host(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert engine_proxy(plain_engine("http://host-b:8001")) is None
    assert engine_proxy(plain_engine("http://host-b:8001", ours=False)) == "http://proxy:3128"


def test_a_proxy_other_than_http_is_refused_by_its_variable_and_not_shown(monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://me:secret@proxy:1080")
    with pytest.raises(ConfigError, match="HTTP_PROXY") as caught:
        url_proxy("http://engine:8000")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9", "nonsense"])
def test_the_arenas_engines_answer_whatever_proxy_the_environment_names(monkeypatch, name, proxy):
    monkeypatch.setenv(name, proxy)
    with FakeEngine() as fake:
        assert asyncio.run(read_counters(fake.engine))
        assert asyncio.run(served_model(fake.engine))["id"] == "arena"
        with local_http_client(2) as http:
            assert http.get(f"{fake.engine.url}/health").is_success


def get(answer):
    """The body of a GET that is answered so."""

    async def read():
        async with http_client(1) as http:
            http._transport = httpx.MockTransport(answer)
            return await read_body(http, "http://engine/metrics")

    return asyncio.run(read())


def test_a_body_without_end_is_not_kept():
    async def pieces():
        for _ in range(64):
            yield b"x" * 2**20

    with pytest.raises(httpx.ReadError):
        get(lambda _: httpx.Response(200, content=pieces()))


def test_no_client_follows_a_redirect():
    asked = []

    def elsewhere(request):
        asked.append(request.url.host)
        return httpx.Response(302, headers={"Location": "http://other/"})

    with pytest.raises(httpx.HTTPStatusError):
        get(elsewhere)
    assert asked == ["engine"]
