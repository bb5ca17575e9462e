"""`./arena up` in a terminal: it reports, ends with Ctrl+C, and the volume keeps its KV over a full restart."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live.commands import ask_and_store, run_arena
from live.leftovers import assert_nothing_is_left
from live.test_4_failures import a_prompt

from cache.volume import current_namespace
from client.ask import ask_whole
from config.paths import ROOT
from config.settings import load_settings

pytestmark = pytest.mark.live
STOP_WITHIN_S = 15
OPEN = {"KV_SERDE": "none"}  # in a namespace of its own


@pytest.fixture
def foreground():
    """Starts a separate `./arena up` as in a terminal, and stops it unless the test already has."""
    run_arena("down")
    child = subprocess.Popen(
        [ROOT / "arena", "up"],
        env={**os.environ, **OPEN},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_ctrl_c,
    )
    yield child
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)


def _hear_ctrl_c():
    """Restores SIGINT as in a terminal: tests may run in a shell's background job, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_until(child, words):
    for line in child.stderr:
        if words in line:
            return
    raise AssertionError(f"up ended without saying '{words}'")


def stop(child, how):
    began = time.monotonic()
    os.kill(child.pid, how)
    child.communicate(timeout=60)
    assert time.monotonic() - began < STOP_WITHIN_S
    assert_nothing_is_left()


def damage_is_noticed():
    """Checks that `bench verify` detects damaged KV, which is served unchecked without authentication."""
    volume = current_namespace(load_settings(os.environ)[0])
    damage = shlex.join([sys.executable, str(Path(__file__).with_name("damage.py")), str(volume)])
    verify = ("bench", "verify", "--input-len", "1104", "--num-warmups", "0", "--num-prompts", "1")
    sound = run_arena(*verify)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    damaged = run_arena(*verify, "--prepare", damage)
    print(damaged.stdout)
    assert damaged.returncode == 1, damaged.stderr


def test_sigterm_while_it_starts_leaves_nothing(foreground):
    read_until(foreground, "cache-b is healthy")
    stop(foreground, signal.SIGTERM)


def test_the_volume_remembers_over_a_full_restart_and_ctrl_c_leaves_nothing(stack, foreground):
    read_until(foreground, "ready: http")
    damage_is_noticed()
    prompt = a_prompt(stack)
    asyncio.run(ask_and_store(stack.engine("lmcache-a"), prompt))
    stop(foreground, signal.SIGINT)
    again = run_arena("up", "--detach", "--no-ui", "--engines", "2", timeout=1500, **OPEN)
    assert again.returncode == 0, again.stderr
    status = json.loads(run_arena("status", "--json").stdout)
    assert [s["name"] for s in status["services"]] == ["cache-a", "cache-b", "lmcache-a", "lmcache-b"]
    reply = asyncio.run(ask_whole(stack.engine("lmcache-b"), prompt))
    assert reply.sources
    assert reply.sources.l2 >= 2048 - reply.chunk_size
    assert run_arena("down").returncode == 0
    assert_nothing_is_left()
