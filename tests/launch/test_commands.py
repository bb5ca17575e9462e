"""The commands reach the form of the stack that runs. Docker is a script whose answers lie in files beside it."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.exceptions import TyperException
from typer.testing import CliRunner

from config.errors import ConfigError
from config.paths import ROOT
from launch.__main__ import app
from launch.client_commands import run_client_command

pytestmark = pytest.mark.slow  # each test starts commands as processes

DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >>asked
case "$*" in
  info*) [ ! -e away ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
         echo '{"ServerVersion": "28.2.2", "DockerRootDir": "/", "MemTotal": 1}' ;;
  "compose version"*) echo 2.39.1 ;;
  image*) echo abc ;;
  "ps --all"*) [ ! -e away ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }; cat there ;;
  ps*) echo "page 127.0.0.1:7860->7860/tcp" ;;
  *" $(cat fails) "*) exit 1 ;;
  *" up "*) echo 4f5e >there ;;
  *" down "*) : >there ;;
esac
"""


class Machine:
    """An ARENA_HOME, and a Docker in front of the PATH."""

    def __init__(self, folder):
        self.home, self.bin = folder / "home", folder / "bin"
        self.run = self.home / "run"
        self.marker, self.token = self.run / "containers.json", self.run / "hf_token"
        self.run.mkdir(parents=True)
        self.bin.mkdir()
        (self.bin / "docker").write_text(DOCKER)
        (self.bin / "docker").chmod(0o755)
        self.docker(there="", fails="nothing")

    def docker(self, **files):
        """What Docker is to do: files beside it."""
        for name, content in files.items():
            (self.bin / name).write_text(content)

    def asked(self):
        """What Docker was called with, a line each; empty when it was not."""
        return (self.bin / "asked").read_text() if (self.bin / "asked").exists() else ""

    @property
    def env(self):
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "ARENA_HOME": str(self.home),
            "RESULTS_DIR": str(self.home / "results"),
            "HF_TOKEN": "hf_secret",
            "UI_PORT": "7860",
        }

    def command(self, *words):
        """As `./arena` runs it."""
        command = [sys.executable, "-m", "launch", *words]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **self.env}, capture_output=True, text=True)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def supervisord(machine):
    """A process that looks like supervisord."""
    command = [sys.executable, "-c", "input()", str(machine.run / "supervisord.conf")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        (machine.run / "supervisord.pid").write_text(str(child.pid))
        yield child
        child.kill()


UP = ("up", "--docker", "--cpu", "--detach")


@pytest.mark.parametrize("step", ["build", "run"])
def test_a_start_that_fails_before_there_is_a_container_leaves_neither_record_nor_token(machine, step):
    machine.docker(fails=step)
    up = machine.command(*UP)
    assert (up.returncode, f" {step} " in machine.asked()) == (1, True), up.stderr
    assert not machine.marker.exists()
    assert not machine.token.exists()


def test_a_start_that_succeeds_is_recorded_and_is_not_started_twice_in_the_other_form(machine):
    up, beside = machine.command(*UP), machine.command("up", "--detach")
    assert (up.returncode, up.stderr.splitlines()[-1]) == (0, "ready: http://127.0.0.1:7860")
    assert (json.loads(machine.marker.read_text())["cpu"], machine.token.read_text()) == (True, "hf_secret")
    assert (beside.returncode, "./arena down" in beside.stderr) == (1, True)


def test_a_start_that_fails_with_containers_there_can_be_ended(machine):
    machine.docker(fails="up", there="4f5e\n")
    assert machine.command(*UP).returncode == 1
    assert json.loads(machine.marker.read_text())["cpu"] is True
    down = machine.command("down")
    assert (down.returncode, " down " in machine.asked()) == (0, True), down.stderr
    assert not machine.marker.exists()
    assert not machine.token.exists()


def test_a_record_of_containers_that_are_gone_takes_no_command_from_the_processes(machine):
    machine.marker.write_text("[1]")
    down = machine.command("down")
    assert (down.returncode, down.stderr.strip()) == (0, "nothing ran")
    assert not machine.marker.exists()


def test_a_docker_that_does_not_answer_is_one_line_that_says_what_to_do(machine):
    machine.marker.write_text("{}")
    machine.docker(away="")
    down = machine.command("down")
    assert (down.returncode, down.stderr.count("\n")) == (1, 1)
    assert "systemctl start docker" in down.stderr
    assert machine.marker.exists()


@pytest.mark.usefixtures("supervisord")
def test_processes_that_run_are_what_commands_reach_and_containers_are_not_started_beside_them(machine):
    machine.marker.write_text("{}")
    machine.docker(there="4f5e\n")
    restart, up = machine.command("restart", "plain-a"), machine.command(*UP)
    assert (restart.returncode, restart.stderr.strip()) == (1, "arena: nothing runs: ./arena up")
    assert (up.returncode, "./arena down" in up.stderr) == (1, True)
    assert machine.asked() == ""


class BecomesError(Exception):
    """In the place of another program that this process would become: its command line."""


@pytest.fixture
def caller(machine, tmp_path, monkeypatch):
    """This process in a folder of the caller's, where containers run. It becomes no other program."""

    def become(_, command, __):
        raise BecomesError(command)

    machine.marker.write_text("{}")
    machine.docker(there="4f5e\n")
    monkeypatch.chdir(tmp_path)
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    for name in ("execve", "execvpe"):
        monkeypatch.setattr(os, name, become)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["ask", "lmcache-a", "Why?", "--context", "a.txt"], "engines"),
        (["chat", "-c", "single-image", "--image", "a.png"], "engines"),
        (["bench", "ttft", "--label", "report"], "bench"),
    ],
)
def test_clients_run_beside_the_engines_where_containers_run(machine, caller, words, module):
    with pytest.raises(BecomesError) as became:
        run_client_command(machine.home, words[0], words[1:])
    (command,) = became.value.args
    options = ["--profile", "bench", "run", "--rm", "--no-deps", "--user", f"{os.getuid()}:{os.getgid()}"]
    options += ["--volume", f"{caller}:{caller}", "--workdir", str(caller)]
    assert command[command.index("--profile") :][: len(options)] == options
    inside = ["bench", *(words[1:] if module == "bench" else words)]
    assert command[command.index("--entrypoint") + 1 :] == [f"python -P -m {module}", *inside]


@pytest.mark.parametrize(
    "words",
    [["ask", "lmcache-a", "Why?", "--context", "/etc/hostname"], ["bench", "peer"], ["bench", "ttft", "--nope"]],
)
@pytest.mark.usefixtures("caller")
def test_what_a_container_cannot_do_is_refused_before_it_is_started(machine, words):
    with pytest.raises((ConfigError, TyperException)):
        run_client_command(machine.home, words[0], words[1:])


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("words", [["report", "none"], ["ttft", "--base-url", "http://127.0.0.1:1"]])
def test_what_needs_no_engines_of_ours_runs_without_a_container(machine, words):
    with pytest.raises(BecomesError) as became:
        run_client_command(machine.home, "bench", words)
    assert became.value.args == ([sys.executable, "-m", "bench", *words],)
    assert machine.asked() == ""


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["up", "--cpu"], "--cpu"),
        (["up", "--model", "--docker", "--profile", "router"], "--profile"),
        (["up", "--docker", "--port", "80"], "--port"),
        (["up", "--docker", "--no-ui"], "--no-ui"),
        (["up", "--docker", "--profile", "--docker"], "--profile"),
        (["doctor", "--cpu"], "--cpu"),
        (["down", "--volumes"], "--volumes"),
    ],
)
def test_an_option_of_the_other_form_is_refused_and_docker_is_no_options_value(machine, monkeypatch, words, option):
    monkeypatch.setenv("ARENA_HOME", str(machine.home))
    refused = CliRunner().invoke(app, words).exception
    assert (type(refused), refused.fact.split(" ")[0]) == (ConfigError, option)


def test_json_has_every_finding_and_the_exit_code_says_whether_the_stack_could_start(machine, monkeypatch):
    for name, value in (machine.env | {"KV_STORE_DIR": "/proc/kv"}).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(done.stdout)
    assert (done.exit_code, {tuple(each) for each in findings}) == (1, {("subject", "status", "fact", "advice")})
    assert "KV volume" in {each["subject"] for each in findings if each["status"] == "bad"}


def test_logs_end_quietly_when_their_reader_has_enough(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "plain-a.log").write_text("a line\n" * 200_000)
    env, pipe = {**os.environ, "ARENA_HOME": str(tmp_path)}, subprocess.PIPE
    command = [sys.executable, "-m", "launch", "logs", "plain-a"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe) as child:
        assert child.stdout.readline() == b"a line\n"
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == -signal.SIGPIPE
