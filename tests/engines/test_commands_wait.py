"""`ask`, `chat` and `bench` wait for whoever measures, send nothing meanwhile, and end with Ctrl+C."""

import os
import signal
import subprocess
import sys

import pytest
from fake_engine import FakeEngine

from client.measurement_lock import MeasurementLock
from config.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def fake():
    with FakeEngine("plain-a") as fake:
        yield fake


@pytest.fixture
def run(fake, tmp_path):
    """A command of the arena, whose engines are all the fake one."""

    def begun(*words):
        address = {"ENGINE_URL": fake.engine.url, "CACHE_URL": fake.engine.url, "ARENA_HOME": str(tmp_path)}
        env = {**os.environ, **address, "PYTHONPATH": str(ROOT), "RESULTS_DIR": str(tmp_path / "results")}
        return subprocess.Popen(
            [sys.executable, "-m", *words], env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    return begun


@pytest.mark.parametrize(
    "words",
    [
        ("engines", "ask", "plain-a", "Why?"),
        ("engines", "chat", "-c", "text-only", "--engine", "plain-a"),
        ("bench", "ttft", "--num-prompts", "5"),
    ],
)
def test_a_command_waits_says_what_for_and_sends_nothing(run, fake, words):
    hold = MeasurementLock.of(os.environ).attempt("a question on the page")
    with run(*words) as command:
        line = next(line for line in command.stderr if "waiting until" in line)
        assert "a question on the page (since" in line
        command.send_signal(signal.SIGINT)
        assert command.wait(20) == 130
    assert fake.asked == 0
    hold.release()


def test_it_goes_on_when_the_other_has_ended_and_then_frees_the_lock(run, fake):
    lock = MeasurementLock.of(os.environ)
    hold = lock.attempt("a question on the page")
    with run("engines", "ask", "plain-a", "Why?") as command:
        assert "waiting until" in command.stderr.readline()
        hold.release()
        assert command.wait(20) == 0
    assert fake.asked == 1
    assert lock.holder() is None


def test_a_server_that_is_not_ours_is_asked_whoever_measures(run, fake):
    hold = MeasurementLock.of(os.environ).attempt("bench ttft")
    with run("engines", "chat", "-c", "text-only", "--base-url", fake.engine.url) as command:
        assert command.wait(20) == 0
    hold.release()


def test_fewer_documents_than_a_claim_takes_are_told_of_before_anything_is_sent(run, fake):
    hold = MeasurementLock.of(os.environ).attempt("a question on the page")
    with run("bench", "ttft", "--num-prompts", "3") as command:
        assert "3 of the 5 documents that a claim takes" in next(line for line in command.stderr if "note" in line)
        command.send_signal(signal.SIGINT)
        command.wait(20)
    assert fake.asked == 0
    hold.release()
