"""Killed servers: the stack recovers by itself, and the volume still works."""

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from live.commands import ask_and_store, run_arena, server, service, session_of, stack_processes
from live.leftovers import assert_nothing_is_left

from bench.options import QUESTION
from cache.volume import current_namespace
from cache.wait_for_store import chunks_to_store
from client.ask import ask_whole
from client.documents import HANDBOOK, read_document
from client.metrics import fetch_metrics, sum_metrics
from client.prompt import Prompt, new_nonce
from client.tokenizer import fill_to_length
from config.errors import EngineError, EngineUnreachable, StackError
from config.settings import load_settings
from launch.supervised import is_alive

pytestmark = pytest.mark.live
WITHIN_S = 600
RUNNING = "vllm:num_requests_running"
KILLED = ("cache-a", "cache-b", "plain-a", "plain-b", "lmcache-a", "lmcache-b")


def until_healthy(name, other_than):
    """Polls until a new process of the service is healthy; restarts are done by another process and take a minute."""
    deadline = time.monotonic() + WITHIN_S
    while not ((now := service(name))["healthy"] and now["pid"] != other_than):
        assert time.monotonic() < deadline, f"{name} is not back after {WITHIN_S} s"
        time.sleep(1)


def a_prompt(stack):
    prompt = Prompt(QUESTION, read_document(HANDBOOK), new_nonce(), 4, ignore_eos=True)
    return asyncio.run(fill_to_length(stack.engine("plain-a"), prompt, 2200))


def test_what_was_deleted_from_the_volume_is_computed_and_stored_again(stack):
    prompt, folder = a_prompt(stack), current_namespace(load_settings(os.environ)[0])
    asyncio.run(ask_and_store(stack.engine("lmcache-a"), prompt))
    assert run_arena("cache", "rm", folder.name).returncode == 0
    assert list(folder.glob("*.data")) == []
    reply = asyncio.run(ask_and_store(stack.engine("lmcache-b"), prompt))
    assert reply.usage.cached_tokens == 0
    assert len(list(folder.glob("*.data"))) >= chunks_to_store(reply)


def test_every_service_survives_a_kill_and_the_volume_still_serves(stack):
    """Kills all six at once: the worst case, since engines need their cache servers to start."""
    prompt = a_prompt(stack)
    asyncio.run(ask_and_store(stack.engine("lmcache-a"), prompt))
    pids = {name: service(name)["pid"] for name in KILLED}
    families = [process for process in stack_processes() if os.getpgid(process.pid) in pids.values()]
    for each in [server(name) for name in KILLED]:
        each.kill()
    with pytest.raises(EngineUnreachable):
        asyncio.run(ask_whole(stack.engine("plain-a"), prompt))
    for name, pid in pids.items():
        until_healthy(name, pid)
    assert not any(child.is_running() and is_alive(child.pid) for child in families)
    reply = asyncio.run(ask_whole(stack.engine("lmcache-b"), prompt))
    assert reply.usage.cached_tokens >= 2048 - reply.chunk_size
    assert reply.sources
    assert reply.sources.shared == reply.usage.cached_tokens


def test_an_engine_answers_and_goes_on_if_its_cache_server_hangs_while_it_computes_and_stores(stack):
    prompt, engine, pid = a_prompt(stack), stack.engine("lmcache-a"), service("lmcache-a")["pid"]
    cache = psutil.Process(service("cache-a")["pid"])

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, ask_whole(engine, prompt))
        while not sum_metrics(asyncio.run(fetch_metrics(engine.url)), RUNNING).get(RUNNING):
            time.sleep(0.05)
        cache.suspend()
        try:
            assert asked.result(60).text
        finally:
            cache.resume()
    assert service("lmcache-a")["pid"] == pid
    until_crossing_over(stack)


def test_a_killed_cache_server_is_back_and_documents_cross_over_again(stack):
    """The engine keeps running, and has to notice that its cache server is new."""
    until_crossing_over(stack)  # an engine monitors its cache server only after its first request
    pid = service("cache-a")["pid"]
    os.kill(pid, signal.SIGKILL)
    until_healthy("cache-a", pid)
    until_crossing_over(stack)


def until_crossing_over(stack):
    deadline = time.monotonic() + WITHIN_S
    while not crosses_over(stack):
        assert time.monotonic() < deadline, "lmcache-b reads nothing of what lmcache-a stores"
        time.sleep(1)


def crosses_over(stack):
    """Returns whether lmcache-b reads what lmcache-a stores.

    An engine recomputes until its next heartbeat notices the new cache server. An engine that was using the killed one
    may also die, and is then restarted.
    """
    try:
        prompt = a_prompt(stack)
        asyncio.run(ask_and_store(stack.engine("lmcache-a"), prompt))
        reply = asyncio.run(ask_whole(stack.engine("lmcache-b"), prompt))
    except (StackError, EngineError) as exc:
        print(f"not yet: {exc}")
        return False
    return bool(reply.sources and reply.sources.shared)


def test_down_leaves_no_process_no_port_and_no_shared_memory(stack):
    before = service("plain-a")["pid"]
    session = os.getsid(before)
    assert run_arena("down").returncode == 0
    left = [p for p in psutil.process_iter() if session_of(p) == session and is_alive(p.pid)]
    assert left == []
    listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert not listening & {e.port for e in stack.engines} | listening & {c.port for c in stack.caches}
    assert_nothing_is_left()
