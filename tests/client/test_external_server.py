import asyncio
import json

import pytest
from fakes import serving

from client.external_server import api_key, external_engine, parse_extra_body
from client.model_list import served_model
from config.errors import ConfigError, EngineRefused, EngineUnreachable

KEY = {"OPENAI_API_KEY": "k"}


@pytest.fixture
def listed():
    """What the server lists, as bytes that a test may replace: one model."""
    return bytearray(b'{"data": [{"id": "arena", "max_model_len": 8192}]}')


@pytest.fixture
def address(listed):
    """A server that answers requests with the key."""
    with serving(lambda request: (200 if request.headers["Authorization"] == "Bearer k" else 401, listed)) as url:
        yield url


def at(url, model=None, environ=KEY):
    return asyncio.run(external_engine(url, "a", model, environ=environ))


def test_the_list_of_models_is_asked_for_with_the_key(address):
    engine = at(f"{address}/v1/")
    assert (engine.model, engine.url, engine.ours) == ("arena", address, False)
    assert engine.headers == {"Authorization": "Bearer k"}
    assert "'k'" not in repr(engine)


@pytest.mark.parametrize(("name", "root"), [("named", "/m"), (None, None), ("missing", None)])
def test_the_facts_are_those_of_the_named_model_or_of_the_first(address, listed, name, root):
    listed[:] = json.dumps({"data": [{"id": "other", "max_model_len": 8192}, {"id": "named", "root": "/m"}]}).encode()
    card = asyncio.run(served_model(at(address, "any"), name))
    assert card == {"id": "named" if root else "other", "root": root, "max_model_len": None if root else 8192}


@pytest.mark.parametrize(
    "content",
    ['{"data": []}', "[]", "<p>Hello</p>", "", "null", '{"data": [null]}', '{"data": [{"id": null}]}', '{"data": 1}'],
)
def test_a_server_that_lists_no_model_is_named_by_its_address(address, listed, content):
    listed[:] = content.encode()
    with pytest.raises(EngineUnreachable, match=f"no list of models at {address}"):
        at(address)
    assert at(address, "named").model == "named"


@pytest.mark.parametrize(("key", "hint"), [("", "set OPENAI_API_KEY"), ("x", "does not take the key")])
def test_a_missing_or_wrong_key_is_named(address, key, hint):
    with pytest.raises(EngineRefused, match=hint) as caught:
        at(address, environ={"OPENAI_API_KEY": key})
    assert caught.value.status == 401


@pytest.mark.parametrize("key", ["sk-x\r", "sk-x\n", "k\r\nX-Other: 1", "“sk-x”", " sk-x", "sk x", "sk\0", "\udcff"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is no key") as caught:
        api_key({"OPENAI_API_KEY": key})
    assert key not in str(caught.value)
    assert "sk" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("host:1", "ftp://host", "http://", "http://host:x", "http://host:0"),
        "http://h:1\nx",
        "http://h:1?a=b",
        "http://a b",
    ],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="give http://host:port"):
        at(url, "named")


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_an_address_is_taken_with_the_apis_path_and_without(end):
    assert at(f"http://[::1]:8000/path{end}", "named").url == "http://[::1]:8000/path"


def test_extra_fields_are_an_object():
    fields = {"max_tokens": None, "max_completion_tokens": 9}
    assert (parse_extra_body(None), parse_extra_body(json.dumps(fields))) == ({}, fields)


@pytest.mark.parametrize("text", ["{", "[1]", "null", "7", '{"a": "\\ud83d"}', '{"stream": false}', '{"messages": []}'])
def test_extra_fields_that_are_no_object_or_replace_what_is_measured_are_refused(text):
    with pytest.raises(ConfigError, match="--extra-body"):
        parse_extra_body(text)
