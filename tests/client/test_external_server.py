import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from client.external_server import api_key, external_engine, parse_extra_body
from client.model_list import served_model
from config.errors import ConfigError, EngineRefused, EngineUnreachable


class Handler(BaseHTTPRequestHandler):
    """One model, for those who have the key."""

    listed = json.dumps({"data": [{"id": "arena", "max_model_len": 8192}]})

    def do_GET(self):
        known = self.headers.get("Authorization") == "Bearer k"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(self.listed.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


KEY = {"OPENAI_API_KEY": "k"}


def at(url, model=None, extra=None, environ=KEY):
    return asyncio.run(external_engine(url, "a", model, extra, environ))


def test_the_list_of_models_is_asked_for_with_the_key(address):
    engine = at(f"{address}/v1/")
    assert (engine.model, engine.url, engine.ours) == ("arena", address, False)
    assert engine.headers == {"Authorization": "Bearer k"}
    assert "'k'" not in repr(engine)


def test_vllms_own_facts_come_with_the_model(address):
    card = asyncio.run(served_model(at(address, "named")))
    assert (card["id"], card["max_model_len"]) == ("arena", 8192)


def test_the_facts_are_those_of_the_model_that_was_named(address, monkeypatch):
    monkeypatch.setattr(Handler, "listed", json.dumps({"data": [{"id": "other"}, {"id": "named", "root": "/m"}]}))
    assert asyncio.run(served_model(at(address, "named"), "named"))["root"] == "/m"


LISTS = [
    '{"data": []}',
    "[]",
    "<p>Hello</p>",
    "",
    "null",
    '{"data": [null]}',
    '{"data": [{"id": null}]}',
    '{"data": 1}',
]


@pytest.mark.parametrize("listed", LISTS)
def test_a_server_that_lists_no_model_is_told_by_its_address(address, listed, monkeypatch):
    monkeypatch.setattr(Handler, "listed", listed)
    with pytest.raises(EngineUnreachable, match=f"no list of models at {address}"):
        at(address)
    assert at(address, "named").model == "named"


def test_who_has_no_key_is_told_of_it_and_who_has_another_too(address):
    for environ, hint in (({}, "set OPENAI_API_KEY"), ({"OPENAI_API_KEY": "x"}, "does not take the key")):
        with pytest.raises(EngineRefused, match=hint) as caught:
            at(address, environ=environ)
        assert caught.value.status == 401


@pytest.mark.parametrize("key", ["sk-x\r", "sk-x\n", "k\r\nX-Other: 1", "“sk-x”", " sk-x", "sk x", "sk\0", "\udcff"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is no key") as caught:
        api_key({"OPENAI_API_KEY": key})
    assert key not in str(caught.value)
    assert "sk" not in str(caught.value)


BAD = [
    "host:1",
    "ftp://host",
    "http://",
    "http://host:x",
    "http://host:0",
    "http://h:1\nx",
    "http://h:1?a=b",
    "http://a b",
]


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="give http://host:port"):
        at(url, "named")


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_an_address_is_taken_with_the_apis_path_and_without(end):
    assert at(f"http://[::1]:8000/path{end}", "named").url == "http://[::1]:8000/path"


def test_extra_fields_are_an_object_and_do_not_replace_what_is_measured():
    assert parse_extra_body(None) == {}
    assert parse_extra_body('{"max_tokens": null, "max_completion_tokens": 9}') == {
        "max_tokens": None,
        "max_completion_tokens": 9,
    }
    for text in ("{", "[1]", "null", "7", '{"a": "\\ud83d"}', '{"stream": false}', '{"messages": []}'):
        with pytest.raises(ConfigError, match="--extra-body"):
            parse_extra_body(text)
