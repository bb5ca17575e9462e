"""The two forms of the containers, started and ended for tests: docker-compose.yml itself, and its variant for CPUs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from live.commands import run_arena

from config.paths import ROOT, arena_home
from config.run_state import containers_file
from config.settings import COMPOSE_ONLY_NAMES, DEFAULT_SIZES, SETTING_NAMES, STAND_IN_MODEL
from launch.compose import Composition, chown_folder, compose_environment, remove_record

BASE = "python:3.11-slim-bookworm"
PROMETHEUS = "ttft-arena-test-prometheus"  # the image that tests/docker/prometheus.Dockerfile makes
HOME = arena_home(os.environ)
LOGIN = ("visitor", "of the page")
TOKEN = "hf_of_the_test"


@dataclass(frozen=True, slots=True)
class Form:
    """Calls `docker compose` with the files, profiles and settings of one form."""

    words: tuple[str, ...]
    env: Mapping[str, str]
    kv_store: str  # a folder of the host, or a Docker volume

    def compose(self, *arguments: str, timeout: float = 900, **environ: str) -> subprocess.CompletedProcess[str]:
        command, env = (*self.words, *arguments), {**self.env, **environ}
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=timeout)

    def inside(self, service: str, program: str, *arguments: str) -> str:
        """Returns what a Python program prints in a service's container."""
        done = self.compose("exec", "--no-TTY", service, "python", "-c", program, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def once(self, service: str, *command: str, **environ: str) -> str:
        """Returns what a command prints in a container of its own, made as the service's is."""
        done = self.compose("run", "--rm", "--no-deps", "--no-TTY", service, *command, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout


def docker(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, **options)


def engine_has_the_base() -> bool:
    try:
        return docker("image", "inspect", BASE).returncode == 0
    except OSError:
        return False


def engine_pins_gpus() -> bool:
    """Whether the Docker engine gives a container the NVIDIA GPUs that it asks for, by the variable of their driver."""
    four = ("--gpus", '"device=0,1,2,3"', BASE)
    return docker("run", "--rm", *four, "printenv", "NVIDIA_VISIBLE_DEVICES").stdout.strip() == "0,1,2,3"


def ids() -> list[str]:
    """Returns the ids of everything that is the project's: containers, networks and volumes."""
    label = "label=com.docker.compose.project=ttft-arena"
    kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
    return [line for kind in kinds for line in docker(*kind, "--quiet", "--filter", label).stdout.split()]


def cpu_form() -> Iterator[Form]:
    """Starts the stack as README says, or with ARENA_TEST_STACK=keep uses the running one and keeps it running."""
    form = _cpu()
    keep = os.environ.get("ARENA_TEST_STACK") == "keep"
    if not keep:
        run_arena("down")  # the stack of processes would take the memory of this one
        up = run_arena("up", "--docker", "--cpu", "--detach", timeout=2400)
        assert up.returncode == 0, up.stderr[-3000:]
    yield form
    if not keep:
        down = run_arena("down", "--volumes")
        assert down.returncode == 0, down.stderr
        assert_nothing_is_left()


def gpu_form(folder: Path) -> Iterator[Form]:
    """Starts docker-compose.yml with Docker alone, as docs/deploy.md says; its folders are in `folder`.

    The other commands of ./arena find it, too.
    """
    if os.environ.get("ARENA_TEST_STACK") == "keep":
        pytest.skip("ARENA_TEST_STACK=keep: the tests are for the running stack")
    if not engine_pins_gpus():
        pytest.skip("this Docker engine takes no requests for four NVIDIA GPUs; one that engine-room starts does")
    run_arena("down")
    built = _cpu().compose("build", "--quiet", timeout=2400)
    assert built.returncode == 0, built.stderr[-3000:]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _gpu_settings(folder).items():
            patch.setenv(name, value)
        composition = Composition()
        words = (*composition.command(), "--file", "tests/docker/gpu-form.yml")
        form = Form(words, composition.environment(), str(folder / "kv"))
        for made in ("kv", "key", "results", "hf/hub"):
            chown_folder(folder / made, form.env)
        composition.record(HOME)
        try:
            up = form.compose("up", "--detach", "--wait")
            assert up.returncode == 0, up.stderr[-3000:] + form.compose("logs", "--tail", "20").stdout
            yield form
        finally:
            down = form.compose("--profile", "*", "down", "--volumes")
            remove_record(HOME)
        assert down.returncode == 0, down.stderr
        assert_nothing_is_left()


def _cpu() -> Form:
    stack = Composition(cpu=True, profiles=("observability", "bench"))
    return Form(
        tuple(stack.command()), compose_environment({**os.environ, "PROMETHEUS_IMAGE": PROMETHEUS}, cpu=True), "kv"
    )


def _gpu_settings(folder: Path) -> dict[str, str]:
    """Returns all settings, so that `.env` changes none: those that are not named here have their defaults."""
    files = {"HF_TOKEN_FILE": TOKEN, "UI_PASSWORD_FILE": LOGIN[1]}
    for name, secret in files.items():
        (folder / name).write_text(secret)
    folders = {"KV_STORE_DIR": "kv", "KV_KEY_DIR": "key", "RESULTS_DIR": "results", "LOCAL_HF_HOME": "hf"}
    paths = {name: str(folder / inner) for name, inner in (folders | {name: name for name in files}).items()}
    small = {"MODEL": STAND_IN_MODEL, "KV_CACHE_MEMORY_GB": "0.5", "L1_SIZE_GB": "1"}  # what is in the CPU images
    small |= DEFAULT_SIZES["cpu"]  # gpu-form.yml gives DEVICE=cpu to the servers alone; all others need the same sizes
    return dict.fromkeys((*SETTING_NAMES, *COMPOSE_ONLY_NAMES), "") | paths | small | {"UI_USERNAME": LOGIN[0]}


def assert_nothing_is_left() -> None:
    assert ids() == []
    assert not containers_file(HOME).exists()
