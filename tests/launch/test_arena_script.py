"""`arena` itself, with a script in the place of Python, which prints what it is given."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.paths import ROOT

PRINTS = """#!/bin/sh
echo "$NO_PROXY|$no_proxy|$ARENA_HOME|$PYTHONPATH"
for word in "$@"; do echo "$word"; done
"""
# as the installer: has a child, and takes a moment to clean up after SIGTERM
INSTALLER = """
import signal, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen(["sleep", "600"])
def end(*_):
    child.kill(); child.wait()
    Path(__file__).with_name("cleaned").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
print(child.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def copy(tmp_path):
    """The script in a folder with a space in its name, and an environment that is whole."""
    root = tmp_path / "the arena"
    python = root / ".arena" / "env" / "app" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (root / "launch").mkdir()
    (root / "launch" / "install.py").touch()
    shutil.copy(ROOT / "arena", root)
    python.write_text(PRINTS)
    python.chmod(0o755)
    return root


def run(command, *words, cwd=None, **environ):
    env = {"PATH": os.environ["PATH"], "ARENA_PYTHON": sys.executable, **environ}
    done = subprocess.run([command, *words], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    variables, *said = done.stdout.splitlines()
    return variables.split("|"), said


def test_it_is_found_through_any_chain_of_symbolic_links(copy, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "far").symlink_to(copy, target_is_directory=True)
    (tmp_path / "bin" / "first").symlink_to("../far/arena")
    (tmp_path / "bin" / "arena").symlink_to("first")
    on_path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for found in (
        run(tmp_path / "bin" / "arena", "models", cwd="/"),
        run("./first", "models", cwd=tmp_path / "bin"),
        run("arena", "models", cwd="/", **on_path),
        run("bash", "arena", "models", cwd="/", **on_path),
        run("../arena", "models", cwd=copy / "launch"),
    ):
        (_, _, home, root), said = found
        assert (home, root) == (f"{copy}/.arena", str(copy))
        assert said == ["-m", "engines", "models"]


def test_a_relative_home_is_of_the_callers_folder(copy, tmp_path):
    shutil.copytree(copy / ".arena", tmp_path / "mine", symlinks=True)
    (_, _, home, _), _ = run(copy / "arena", "models", cwd=tmp_path, ARENA_HOME="mine")
    assert home == str(tmp_path / "mine")


@pytest.mark.parametrize(
    ("given", "set_to"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "a.org"}, "127.0.0.1,localhost,::1,a.org"),
        ({"no_proxy": "b.org"}, "127.0.0.1,localhost,::1,b.org"),
        ({"NO_PROXY": "a.org", "no_proxy": "b.org"}, "127.0.0.1,localhost,::1,a.org,b.org"),
        ({"NO_PROXY": "*"}, "*"),
        ({"no_proxy": "a.org, *"}, "*"),
    ],
)
def test_loopback_is_never_a_proxys_business_and_the_callers_exceptions_stay(copy, given, set_to):
    (upper, lower, _, _), _ = run(copy / "arena", "models", **given)
    assert upper == lower == set_to


@pytest.mark.parametrize(
    ("words", "run_as"),
    [
        (["up", "--model", "--docker", "--cpu"], ["launch", "up", "--model", "--docker", "--cpu"]),
        (["bench", "ttft", "--", "-x"], ["launch", "bench", "ttft", "--", "-x"]),
        (["models", "--json"], ["engines", "models", "--json"]),
        (["test", "--gpu", "--cpu", "--steps", "ttft"], ["launch.gpu_test", "--cpu", "--steps", "ttft"]),
    ],
)
def test_words_are_handed_on_as_they_are(copy, words, run_as):
    _, printed = run(copy / "arena", *words)
    assert printed == ["-m", *run_as]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_install_that_is_interrupted_is_waited_for_and_leaves_nothing(copy, how):
    (copy / "launch" / "install.py").write_text(INSTALLER)
    env = {"PATH": os.environ["PATH"], "ARENA_PYTHON": sys.executable}
    with subprocess.Popen(
        [copy / "arena", "models"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as script:
        child = int(script.stdout.readline())
        script.send_signal(how)
        script.wait(timeout=20)
    assert script.returncode != 0
    assert (copy / "launch" / "cleaned").exists()
    assert not Path(f"/proc/{child}").exists()
