"""`bench ttft --base-url` against servers of another kind than vLLM, over real HTTP."""

import asyncio
import json
from contextlib import ExitStack
from dataclasses import replace

import pytest
from fake_engine import Behaviour, FakeEngine
from fakes import a_reply
from typer.testing import CliRunner

from bench.__main__ import app
from bench.external_pair import FEW, MANY, CharactersPerToken, scale_of, sizing
from client.prompt import Prompt
from config.errors import ConfigError, DocumentError, EngineRefused, EngineUnreachable

DOCUMENT = "A codec turns frames into packets and packets into frames again. " * 40
OTHER = {"lends_tokenizer": False, "lists_models": False}


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch, tmp_path):
    """Nothing here is HTTPS, and reading the machine's certificates would take most of the time."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def run(tmp_path):
    """Runs a bench of two servers that behave so, and gives its result, what was printed, and the servers."""

    def bench(*words, first=None, second=None, key=""):
        with ExitStack() as running:
            sides = zip(("first-a", "second-b"), (first or {}, second or {}), strict=True)
            fakes = [running.enter_context(FakeEngine(n, Behaviour(**{**OTHER, **b}), key=key)) for n, b in sides]
            urls = [word for fake in fakes for word in ("--base-url", f"{fake.engine.url}/v1")]
            given = ["--num-prompts", 2, "--input-len", 600, "--num-warmups", 0, "--model", "m"]
            folder = tmp_path / "result"
            line = ["ttft", *urls, *given, "--result-dir", folder, *words]
            ended = CliRunner().invoke(app, [str(word) for word in line])
            result = json.loads((folder / "result.json").read_text()) if (folder / "result.json").exists() else None
            return ended, result, fakes

    return bench


def about(nonce):
    return Prompt("What is a codec?", DOCUMENT, nonce, max_tokens=8)


def counting(counts):
    """A server that counts as told, by the length of the document."""

    async def ask(engine, prompt):
        return a_reply(engine, prompt=counts(len(prompt.document)))

    return ask


@pytest.mark.parametrize("count", [0, 1, 500, 10**6])
def test_a_server_whose_count_does_not_grow_with_the_prompt_is_refused(topology, count):
    with pytest.raises(ConfigError, match="does not count"):
        asyncio.run(scale_of(topology.engines[0], about, counting(lambda _: count)))


@pytest.mark.parametrize("counts", [lambda n: -n, lambda n: 5000 - n, lambda n: 10 + n // 1000])
def test_a_count_that_falls_or_hardly_grows_is_no_count(topology, counts):
    with pytest.raises(ConfigError, match="does not count"):
        asyncio.run(scale_of(topology.engines[0], about, counting(counts)))


@pytest.mark.parametrize("each", [1, 4, 6])
def test_a_prompt_has_the_tokens_that_were_asked_for_by_the_servers_count(topology, each):
    counts = counting(lambda n: 50 + n // each)
    scale = asyncio.run(scale_of(topology.engines[0], about, counts))
    prompt = asyncio.run(sizing({"plain-a": scale}, refusing)(topology.engines[0], about("n"), 7000))
    assert 6900 <= 50 + len(prompt.document) // each <= 7000


async def refusing(*_):
    raise DocumentError("there is no tokenizer")


def test_no_prompt_has_more_characters_than_its_tokens_can_have():
    assert max(CharactersPerToken(1, 20.0).characters(tokens) for tokens in (1, 500)) <= FEW + 20 * 500 < 3 * MANY


def test_both_servers_get_the_form_that_both_take(topology):
    with_role, without = CharactersPerToken(10, 4.0), CharactersPerToken(10, 4.0, no_system_role=True)
    sized = sizing({"plain-a": with_role, "plain-b": without}, refusing)
    assert asyncio.run(sized(topology.engines[0], about("n"), 600)).no_system_role


def test_a_server_that_counts_nothing_is_refused_before_anything_is_measured(run):
    for side in ({"first": {"counts": 0}}, {"second": {"counts": 7}}):
        ended, result, fakes = run(**side)
        assert isinstance(ended.exception, ConfigError)
        assert result is None
        assert max(fake.asked for fake in fakes) <= 2
        assert max(len(json.dumps(fake.last)) for fake in fakes) < 2 * MANY


def test_a_model_that_is_named_needs_no_list_of_models(run):
    ended, result, _ = run()
    assert ended.exit_code in (0, 1), ended.exception
    assert (result["completed"], result["failed"]) == (8, 0)
    assert all(560 <= row["prompt_tokens"] <= 600 for row in result["samples"])


def test_a_template_without_a_system_role_is_found_out_without_a_tokenizer(run):
    _, result, fakes = run(second={"user_only": True})
    assert result["failed"] == 0
    assert all(message["role"] != "system" for fake in fakes for message in fake.last["messages"])


def test_a_field_that_a_server_does_not_know_is_named_with_the_option_that_leaves_it_out(run):
    ended, _, _ = run(first={"unknown": ("max_tokens",)})
    assert isinstance(ended.exception, EngineRefused)
    assert "--extra-body" in ended.exception.hint
    assert "max_tokens" in ended.exception.hint


def test_a_field_is_left_out_or_renamed_by_the_callers_json(run):
    extra = {"max_tokens": None, "max_completion_tokens": 8, "seed": None}
    _, result, fakes = run("--extra-body", json.dumps(extra), first={"unknown": ("max_tokens", "seed")})
    assert result["failed"] == 0
    assert result["options"]["extra_body"] == extra
    assert all("seed" not in fake.last and fake.last["max_completion_tokens"] == 8 for fake in fakes)


@pytest.mark.parametrize("text", ["{", "[]", '{"messages": []}'])
def test_an_extra_body_that_is_none_is_refused_in_words(run, text):
    ended, result, fakes = run("--extra-body", text)
    assert isinstance(ended.exception, ConfigError)
    assert result is None
    assert [fake.asked for fake in fakes] == [0, 0]


@pytest.mark.parametrize(
    "line",
    [
        'data: {"choices": [{"delta": "x"}]}',
        'data: {"error": {"message": "out of memory"}}',
    ],
)
def test_a_malformed_chunk_is_a_failed_sample_and_the_run_goes_on(run, line):
    broken = {"between_chunks": line, "breaks_from": 3}
    _, result, _ = run(second=broken)
    rows = [row for row in result["samples"] if row["arm"] != "cold"]
    assert {row["error"] for row in rows} == {"StreamBroken"}
    assert all(row["ttft_ms"] is None and row["reason"] for row in rows)
    assert all(row["valid"] for row in result["samples"] if row["arm"] == "cold")


@pytest.mark.parametrize("line", ["data: null", 'data: {"choices": [null]}'])
def test_what_says_nothing_between_chunks_changes_nothing(run, line):
    _, result, _ = run(second={"between_chunks": line})
    assert result["failed"] == 0


def test_a_server_that_keeps_the_connection_open_is_through_at_its_done(run):
    _, result, _ = run(second={"stays_open": True})
    assert result["failed"] == 0
    assert result["duration"] < 15


def test_a_key_goes_to_the_servers_that_were_named_and_into_no_file(run, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    ended, result, _ = run(key="sk-secret", first={"lists_models": True})
    assert result["failed"] == 0, ended.exception
    assert "version" not in " ".join(result["preflight"]["unchecked"])
    kept = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"result.json", "report.md", "report.html", "cold.json"} <= kept.keys()
    assert "sk-secret" not in "".join([*kept.values(), ended.output])


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 1), (("--num-prompts", 5), 0), (("--num-prompts", 5, "--expected-ttft-gain", 1000), 1)],
    ids=["too few documents", "a claim", "a smaller gain than was expected"],
)
def test_the_exit_code_of_a_question_says_whether_its_result_holds(run, words, code):
    ended, result, _ = run(*words)
    assert (ended.exit_code, result["complete"], result["failed"]) == (code, True, 0)


def test_what_the_server_says_in_place_of_a_stream_is_said(run):
    ended, _, _ = run(first={"body": b'{"error": {"message": "no more credit"}}'})
    assert isinstance(ended.exception, EngineRefused)
    assert (ended.exception.status, ended.exception.server_text) == (200, "no more credit")
    assert "./arena" not in str(ended.exception)


def test_a_server_that_is_not_there_is_named_with_advice_for_it(topology):
    nowhere = replace(topology.engines[0], name="127.0.0.1:9", url="http://127.0.0.1:9", ours=False)
    with pytest.raises(EngineUnreachable) as caught:
        asyncio.run(scale_of(nowhere, about))
    assert nowhere.url in caught.value.hint
    assert "./arena" not in str(caught.value)
