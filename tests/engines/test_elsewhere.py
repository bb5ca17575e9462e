import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engines.elsewhere import engine_at
from engines.errors import ConfigError, EngineUnreachable
from engines.served import served_model


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


def test_the_list_of_models_is_asked_for_with_the_key(address, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert asyncio.run(engine_at(f"{address}/v1", "a", None)).model == "arena"


def test_vllms_own_facts_come_with_the_model(address, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    card = asyncio.run(served_model("plain-a", address))
    assert (card["id"], card["max_model_len"]) == ("arena", 8192)


@pytest.mark.parametrize("listed", ['{"data": []}', "[]", "<p>Hello</p>", ""])
def test_a_server_that_lists_no_model_is_told_by_name(address, listed, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(Handler, "listed", listed)
    with pytest.raises(EngineUnreachable, match="plain-a: no list of models at http"):
        asyncio.run(served_model("plain-a", address))


def test_who_has_no_key_is_told_of_it(address, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EngineUnreachable, match="OPENAI_API_KEY"):
        asyncio.run(engine_at(address, "a", None))
    assert asyncio.run(engine_at(address, "a", "named")).model == "named"


@pytest.mark.parametrize("url", ["host:1", "ftp://host", "http://", "http://host:x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="give http://host:port"):
        asyncio.run(engine_at(url, "a", "named"))
