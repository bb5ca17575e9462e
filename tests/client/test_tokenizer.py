"""Prompts, and their tokens as vLLM's tokenizer counts them."""

import asyncio
import json
import threading
from dataclasses import replace

import pytest
from fake_engine import Behaviour, FakeEngine
from fakes import plain_engine, serving
from pydantic import BaseModel, SecretStr

from client.ask import ask_whole
from client.prompt import Prompt, new_nonce
from client.tokenizer import count_tokens, fit_to_context, post_tokenizer
from config.errors import ArenaError, DocumentError, EngineRefused, EngineUnreachable, NotTokenized

PROMPT = Prompt("what is it?", "a b c", "00ff", max_tokens=10)
SHAPES = [{}, [], [1], "ok", {"tokens": [1]}, *({"count": n, "max_model_len": 1} for n in ("9", True, -1, 1.5))]


def count_error(status, answer):
    with serving(lambda _: (status, json.dumps(answer).encode())) as url, pytest.raises(ArenaError) as caught:
        asyncio.run(count_tokens(plain_engine(url), PROMPT))
    return caught.value


@pytest.mark.parametrize("answer", SHAPES)
def test_an_answer_in_another_shape_than_vllms_is_an_error_of_ours(answer):
    error = count_error(200, answer)
    assert isinstance(error, DocumentError)
    assert "name a vLLM server" in str(error)


def test_media_that_the_model_does_not_take_are_refused_as_the_client_refuses_them():
    error = count_error(400, {"error": {"message": "At most 1 image(s) may be provided in one prompt."}})
    assert isinstance(error, EngineRefused)
    assert error.hint.startswith("give fewer")


@pytest.mark.parametrize(
    ("status", "answer", "error", "text"),
    [
        (400, {"error": {"message": "no such thing"}}, NotTokenized, "no such thing"),
        (404, {}, NotTokenized, "{}"),
        (503, {}, EngineRefused, "{}"),
    ],
)
def test_other_refusals_of_a_tokenizer_are_in_its_own_words(status, answer, error, text):
    refused = count_error(status, answer)
    assert (type(refused), refused.server_text) == (error, text)


def test_a_slow_tokenizer_is_not_said_to_be_down():
    left = threading.Event()

    def wait(_):
        left.wait(20)
        return 200, b"{}"

    with serving(wait) as url:
        with pytest.raises(EngineUnreachable, match=r"within 0\.1 s; it is busy"):
            asyncio.run(post_tokenizer(plain_engine(url), "tokenize", {}, BaseModel, timeout_s=0.1))
        left.set()


@pytest.mark.parametrize("key", ["", "k"])
def test_the_key_of_a_server_goes_along_and_no_other(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")
    keys = []

    def count(request):
        keys.append(request.headers["Authorization"])
        return 200, b'{"count": 3, "max_model_len": 100}'

    with serving(count) as url:
        engine = plain_engine(url, key=SecretStr(key) if key else None)
        _, tokens, limit = asyncio.run(count_tokens(engine, PROMPT))
    assert (tokens, limit, keys) == (3, 90, ["Bearer k" if key else None])


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question):
    with pytest.raises(DocumentError, match="empty"):
        Prompt(question)


@pytest.mark.parametrize("field", ["question", "document", "nonce", "appendix"])
def test_half_a_character_is_refused_by_the_part_of_the_prompt_that_it_is_in(field):
    with pytest.raises(DocumentError, match=field):
        Prompt(**{"question": "why?", field: "a\ud83d"})


def test_the_nonce_opens_the_prompt_and_the_question_ends_it():
    messages = PROMPT.messages
    assert messages[0]["content"].startswith("00ff ")
    assert messages[0]["content"].endswith("a b c")
    assert messages[-1] == {"role": "user", "content": "what is it?"}


def test_nonces_do_not_repeat():
    assert len({new_nonce() for _ in range(1000)}) == 1000


def test_a_model_without_a_system_role_gets_all_in_the_users_message():
    with FakeEngine("plain-a", Behaviour(user_only=True)) as fake:
        fitted = asyncio.run(fit_to_context(fake.engine, PROMPT, cut=False))
        assert asyncio.run(ask_whole(fake.engine, fitted)).text
    (message,) = fitted.messages
    assert message["role"] == "user"
    assert message["content"].startswith("00ff ")
    assert message["content"].endswith("what is it?")


def test_a_model_with_a_system_role_gets_one():
    with FakeEngine("plain-a") as fake:
        fitted = asyncio.run(fit_to_context(fake.engine, replace(PROMPT, nonce=""), cut=False))
    assert [message["role"] for message in fitted.messages] == ["system", "user"]
