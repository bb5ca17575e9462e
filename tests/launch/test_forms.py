"""With and without containers: the commands reach the form that runs. Docker is a script that does as it is told."""

import json
import os
import subprocess
import sys

import pytest

from config.paths import ROOT

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
        return (self.bin / "asked").read_text()

    def command(self, *words):
        """As `./arena` runs it."""
        env = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "ARENA_HOME": str(self.home),
            "RESULTS_DIR": str(self.home / "results"),
            "HF_TOKEN": "hf_secret",
            "UI_PORT": "7860",
        }
        return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def supervisord(machine):
    """A process that looks like the embedded stack's."""
    command = [sys.executable, "-c", "input()", str(machine.run / "supervisord.conf")]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        (machine.run / "supervisord.pid").write_text(str(child.pid))
        yield child
        child.kill()


@pytest.mark.parametrize("step", ["build", "run"])
def test_a_start_that_fails_before_there_is_a_container_leaves_neither_record_nor_token(machine, step):
    machine.docker(fails=step)
    up = machine.command("launch.containers", "up", "--cpu", "--detach")
    assert (up.returncode, f" {step} " in machine.asked()) == (1, True), up.stderr
    assert not machine.marker.exists()
    assert not machine.token.exists()


def test_a_start_that_fails_with_containers_there_can_be_ended(machine):
    machine.docker(fails="up", there="4f5e\n")
    assert machine.command("launch.containers", "up", "--cpu", "--detach").returncode == 1
    assert json.loads(machine.marker.read_text())["cpu"] is True
    down = machine.command("launch.containers", "down")
    assert (down.returncode, " down " in machine.asked()) == (0, True), down.stderr
    assert not machine.marker.exists()
    assert not machine.token.exists()


def test_a_record_of_containers_that_are_gone_takes_no_command_from_the_embedded_stack(machine):
    machine.marker.write_text("[1]")
    down = machine.command("launch.containers", "down")
    assert (down.returncode, down.stderr.strip()) == (0, "nothing ran")
    assert not machine.marker.exists()


def test_a_docker_that_does_not_answer_is_told_in_one_line_with_what_to_do(machine):
    machine.marker.write_text("{}")
    machine.docker(away="")
    down = machine.command("launch.containers", "down")
    assert (down.returncode, down.stderr.count("\n")) == (1, 1)
    assert "systemctl start docker" in down.stderr
    assert machine.marker.exists()


@pytest.mark.usefixtures("supervisord")
def test_an_embedded_stack_that_runs_is_what_commands_reach(machine):
    machine.marker.write_text("{}")
    machine.docker(there="4f5e\n")
    restart = machine.command("launch.containers", "restart", "plain-a")
    assert restart.stderr.strip().endswith("nothing runs: ./arena up")  # as the embedded stack's own command says


@pytest.mark.usefixtures("supervisord")
def test_containers_are_not_started_beside_an_embedded_stack(machine):
    up = machine.command("launch.containers", "up", "--cpu", "--detach")
    assert (up.returncode, "./arena down" in up.stderr) == (1, True)
    assert not (machine.bin / "asked").exists()


def test_an_embedded_stack_is_not_started_beside_containers(machine):
    machine.marker.write_text("{}")
    machine.docker(there="4f5e\n")
    up = machine.command("launch", "up", "--detach")
    assert (up.returncode, "./arena down" in up.stderr) == (1, True)
