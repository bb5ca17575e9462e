"""The stack through its commands. The files of this folder run in order; those that break things are last."""

import asyncio
import json
import os
import stat
from pathlib import Path

import httpx
import psutil
import pytest
from live.commands import stack_processes
from live.conftest import PROXIES
from openai import OpenAI

from cache.lmcache_command import lmcache_command
from client.ask import ask_whole
from client.prompt import Prompt, new_nonce
from config.paths import ROOT
from config.service_environment import LANGUAGE, SYSTEM, VARIABLES_BY_ROLE, ServiceRole
from config.settings import Settings, load_settings

pytestmark = pytest.mark.live


def test_six_services_and_the_page_are_healthy(stack, arena):
    status = arena("status", "--json")
    assert status.returncode == 0
    report = json.loads(status.stdout)
    assert {s["name"]: s["kind"] for s in report["services"]} == {
        "cache-a": "cache",
        "cache-b": "cache",
        "plain-a": "plain",
        "plain-b": "plain",
        "lmcache-a": "lmcache",
        "lmcache-b": "lmcache",
        "page": "page",
    }
    assert all(s["healthy"] and s["pid"] for s in report["services"])
    assert report["kv_volume"]["max_bytes"] > 0  # the keeper runs
    for cache in stack.caches:
        assert "\narena_volume_stored_bytes " in httpx.get(f"{cache.url}/metrics").text


def test_the_stack_stays_under_sixteen_gib(stack):
    assert sum(process.memory_full_info().pss for process in stack_processes()) < 16 * 2**30


def test_nothing_listens_beyond_this_machine(stack):
    for process in stack_processes():
        listening = [c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert set(listening) <= {"127.0.0.1", "::1"}, (process.cmdline(), listening)


def admin_pages(cache):
    """Yields the path and text of each GET endpoint of a cache server that needs no argument."""
    with httpx.Client(timeout=30, trust_env=False, base_url=cache.url) as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            takes = methods.get("get", {}).get("parameters", ())
            if "get" in methods and "{" not in path and not any(each.get("required") for each in takes):
                yield path, client.get(path).text


def test_what_cache_servers_print_has_no_secret_and_no_variable_beyond_the_list(stack):
    """Relies on `up` having been started with secrets in its environment."""
    callers = (*SYSTEM, *LANGUAGE, *VARIABLES_BY_ROLE[ServiceRole.CACHE].callers)
    known = {
        *callers,
        *VARIABLES_BY_ROLE[ServiceRole.CACHE].settings,
        "ARENA_HOME",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
    }
    known |= {"HF_HUB_OFFLINE", "LC_CTYPE"}  # the latter is Python's own
    patterns = tuple(name[:-1] for name in callers if name.endswith("*"))
    settings = load_settings(os.environ)[0]
    for cache in stack.caches:
        known |= lmcache_command(cache, settings, settings.kv_store_dir).env.keys()
        pages = dict(admin_pages(cache))
        assert {"/env", "/config"} <= pages.keys()
        assert [path for path, text in pages.items() if "canary" in text] == []
        assert [name for name in json.loads(pages["/env"]) if name not in known and not name.startswith(patterns)] == []


def test_no_process_of_the_stack_has_a_secret_of_the_callers(stack):
    for process in stack_processes():
        assert not [name for name, value in process.environ().items() if "canary" in value], process.cmdline()


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("ask", "plain-a", "Why?", "--max-tokens", "2"),
        ("chat", "-c", "single-image", "--image", "media/samples/image.png", "--max-tokens", "2"),
    ],
)
def test_no_command_asks_a_proxy_for_what_is_on_this_machine(stack, arena, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = arena(*words, **PROXIES)
    assert done.returncode == 0, done.stderr


def test_no_benchmark_asks_a_proxy_either(stack, arena, tmp_path):
    options = ("--num-prompts", "5", "--input-len", "128", "--result-dir", str(tmp_path / "aa"))
    done = arena("bench", "aa", *options, **PROXIES)
    samples = json.loads((tmp_path / "aa" / "result.json").read_text())["samples"]
    assert [row["reason"] for row in samples if not row["valid"]] == [], done.stderr


def test_a_second_up_says_that_the_stack_runs(stack, arena):
    again = arena("up", "--detach", timeout=60)
    assert again.returncode == 1
    assert "already runs" in again.stderr
    assert "Traceback" not in again.stderr


def test_ask_streams_and_then_tells_the_cost(stack, arena):
    asked = arena("ask", "plain-a", "What is a codec? One sentence.", "--max-tokens", "16")
    assert asked.returncode == 0, asked.stderr
    assert "TTFT" in asked.stdout
    assert "prompt tokens cached" in asked.stdout


def test_the_openai_sdk_reads_of_an_engine_what_the_arenas_own_client_reads(stack):
    engine = stack.engine("plain-a")
    prompt = Prompt("What is a codec?", "A codec turns frames into packets. " * 60, new_nonce(), max_tokens=16)
    _, ours = [asyncio.run(ask_whole(engine, prompt)) for _ in range(2)]  # both clients find the prompt cached
    with OpenAI(base_url=f"{engine.url}/v1", api_key="none") as sdk:
        chunks = list(
            sdk.chat.completions.create(
                model=engine.model,
                messages=prompt.messages,
                max_tokens=prompt.max_tokens,
                temperature=prompt.temperature,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    usage = chunks[-1].usage
    assert "".join(texts) == ours.text
    assert (usage.prompt_tokens, usage.completion_tokens) == (ours.usage.prompt_tokens, ours.usage.completion_tokens)
    assert usage.prompt_tokens_details.cached_tokens == ours.usage.cached_tokens > 0


def test_a_context_that_is_too_long_is_told_by_how_much_and_can_be_cut(stack, arena, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("One more sentence for a very long document. " * 1500)
    asked = arena("ask", "plain-b", "What?", "--context", str(path), "--max-tokens", "4")
    assert asked.returncode == 1
    assert "more than" in asked.stderr
    assert "--cut" in asked.stderr
    cut = arena("ask", "plain-b", "What?", "--context", str(path), "--max-tokens", "4", "--cut", "--json")
    assert cut.returncode == 0, cut.stderr
    assert 7900 < json.loads(cut.stdout)["prompt_tokens"] <= 8188


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "Why?"), "no engine 'nobody'"),
        (("plain-a", " "), "empty"),
        (("plain-a", "Why?", "--context", "/none"), "/none"),
    ],
)
def test_bad_input_is_answered_in_one_line(stack, arena, arguments, said):
    asked = arena("ask", *arguments)
    assert asked.returncode in (1, 2)
    assert said in asked.stderr
    assert "Traceback" not in asked.stderr


def test_stored_kv_is_authenticated_with_a_key_outside_the_volume(stack, arena):
    volume = Path(json.loads(arena("status", "--json").stdout)["kv_store_dir"])
    key = Settings.from_env({}).kv_key_file
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not key.is_relative_to(volume)


def test_logs_are_there_for_every_service_and_an_unknown_one_is_answered_with_the_known(stack, arena):
    assert "vllm serve" in arena("logs", "lmcache-a").stdout
    assert "cache.lmcache_server server" in arena("logs", "cache-b").stdout
    unknown = arena("logs", "nobody")
    assert (unknown.returncode, "lmcache-a" in unknown.stderr) == (2, True)
