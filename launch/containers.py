"""The stack as containers: the services of docker-compose.yml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from config.errors import ConfigError, StackError
from config.exit_codes import caller_settings
from config.paths import ROOT
from config.recipe import unknown_model_error
from config.run_state import containers_file, supervisord_pid
from config.settings import Settings
from launch.check_result import CheckStatus
from launch.compose import (
    PROFILES,
    Composition,
    chown_folder,
    compose_path,
    container_device,
    remove_record,
    run_output,
    write_token_file,
)
from launch.docker_checks import containers_exist
from launch.doctor import check_containers
from launch.signals import uninterrupted
from launch.stack import ServiceStatus, expected_services, page_url, refuse_failed, say, show

HEALTHY_S = 1800  # for everything to be healthy, once the model is ready
WATCH_S = 5  # between two checks whether containers exist
INSIDE = {"ENGINE_URL": "http://{name}:{port}", "CACHE_URL": "http://{name}:{port}"}


class Containers:
    """The containers of one ARENA_HOME."""

    def __init__(self, home: Path, composition: Composition) -> None:
        self.home, self.composition = home, composition
        self._env = composition.environment()

    @classmethod
    def running(cls, home: Path) -> Containers | None:
        """Returns the existing containers, running or stopped; None if there are none, or if processes run.

        If there are no containers, the record is removed. Raises StackError if Docker does not answer.
        """
        if supervisord_pid(home) or not containers_file(home).exists():
            return None
        found = cls(home, Composition.recorded(home))
        if containers_exist(found._env):
            return found
        remove_record(home)
        return None

    @classmethod
    def prepare(cls, home: Path, composition: Composition) -> Containers:
        """Returns containers that can be started, after creating their folders and checking the machine.

        Raises StackError if processes run or a check fails.
        """
        if supervisord_pid(home):
            raise StackError(
                "the stack runs already, without containers: ./arena status shows it, ./arena down ends it"
            )
        stack = cls(home, composition)
        stack._make_folders()
        results = tuple(check_containers(stack._env, cpu=composition.cpu))
        for result in results:
            if result.status is CheckStatus.NOTE:
                show(result)
        refuse_failed(results, "the containers cannot start yet; ./arena doctor --docker shows everything")
        return stack

    def start(self) -> str:
        """Starts the containers with Compose's own progress output. Once they exist, other commands refer to them."""
        began = time.monotonic()
        settings = caller_settings(DEVICE=container_device(cpu=self.composition.cpu))
        write_token_file(self._env, settings.hf_token.get_secret_value())
        self._env = self.composition.environment()  # this now contains the path of the token's file
        say("building the images (minutes, the first time) and starting the containers")
        if self._run("build", "--quiet"):
            raise StackError("the images could not be built: the last lines above say why")
        # run first and alone: a download has no deadline, and if it fails, the reason is the last line shown
        if self._run("run", "--rm", *_no_tty(), "model"):
            raise StackError("the model could not be made ready: the last lines above say why")
        self.composition.record(self.home)
        # wait-timeout: a server that keeps ending and restarting never becomes healthy
        if self._run("up", "--detach", "--wait", "--wait-timeout", str(HEALTHY_S)):
            self._say_what_failed()
            raise StackError("not everything is healthy; ./arena status shows what is, ./arena down ends it")
        took = time.monotonic() - began
        return f"everything is up after {took:.0f} s\nready: {page_url(self._settings())}"

    def abandon(self, *, interrupted: bool) -> None:
        """Cleans up after a failed start: removes the token and the record, unless there are containers to inspect."""
        if interrupted:
            self.stop()
            return
        with suppress(StackError):
            if not containers_exist(self._env):
                remove_record(self.home)

    def watch(self) -> None:
        while self._output("ps", "--all", "--quiet"):
            time.sleep(WATCH_S)

    def stop(self, *, volumes: bool = False) -> str:
        """Stops the containers. Compose runs in a session of its own, so that a second Ctrl+C does not end it."""
        everything = replace(self.composition, profiles=(*PROFILES, "bench"))
        down = everything.command("down", "--remove-orphans", *(["--volumes"] if volumes else []))
        with uninterrupted():
            run_output(down, self._env, partial(subprocess.run, start_new_session=True))
            remove_record(self.home)
        return "stopped"

    def services(self) -> tuple[ServiceStatus, ...]:
        listed = self._output("ps", "--all", "--no-trunc", "--format", "json")
        ids = [json.loads(line)["ID"] for line in listed.splitlines()]
        inspect = ["docker", "inspect", "--format", "{{.Id}} {{.State.Pid}}", *ids]
        lines = run_output(inspect, self._env).splitlines() if ids else []
        pids = {name: int(pid) for name, pid in (line.split() for line in lines)}
        return service_statuses(listed, pids, self._settings())

    def kv_store(self) -> str:
        config = json.loads(self._output("config", "--format", "json"))
        mounts = {mount["target"]: mount["source"] for mount in config["services"]["page"]["volumes"]}
        return str(mounts["/kv"])

    def restart(self, names: Sequence[str]) -> None:
        self._become(self.composition.command("restart", *names))

    def show_log(self, name: str, *, follow: bool) -> NoReturn:
        some = ["--tail", "50", "--follow"] if follow else []
        self._become(self.composition.command("logs", "--no-log-prefix", *some, name))

    def run_client(self, module: str, prog: str, arguments: Sequence[str]) -> NoReturn:
        """Replaces this process (exec) with a Python module in a container beside the engines.

        `prog` is the module's name in its help. The caller's folder is mounted at the same path, and files written
        there belong to the caller. Raises ConfigError if the folder cannot be mounted.
        """
        here = str(Path.cwd())
        if here in ("/", "/tmp", "/app") or ":" in here:  # noqa: S108
            raise ConfigError(f"{here} cannot be shown to a container: go to another folder")
        run = ["run", "--rm", "--no-deps", "--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{here}:{here}"]
        run += ["--workdir", here, "--env", f"ARENA_PROG={prog}", "--env", f"RESULTS_DIR={here}/results", *_no_tty()]
        # -P: Python must not import modules from the caller's folder
        run += ["--entrypoint", f"python -P -m {module}", "bench", *arguments]
        with_bench = replace(self.composition, profiles=(*self.composition.profiles, "bench"))
        self._become(with_bench.command(*run))

    def run_in_keeper(self, module: str, prog: str, arguments: Sequence[str]) -> NoReturn:
        """Replaces this process (exec) with a Python module in the keeper's container, which has the KV volume."""
        run = ["exec", "--env", f"ARENA_PROG={prog}", *_no_tty(), "keeper", "python", "-m", module, *arguments]
        self._become(self.composition.command(*run))

    def _make_folders(self) -> None:
        chown_folder(compose_path(self._env, "RESULTS_DIR"), self._env, filled=True)
        if not self.composition.cpu:
            for name, inner in (("KV_STORE_DIR", ""), ("KV_KEY_DIR", ""), ("LOCAL_HF_HOME", "hub")):
                chown_folder(compose_path(self._env, name) / inner, self._env)

    def _run(self, *arguments: str) -> int:
        return subprocess.run(self.composition.command(*arguments), env=self._env, cwd=ROOT).returncode

    def _output(self, *arguments: str) -> str:
        return run_output(self.composition.command(*arguments), self._env)

    def _become(self, command: list[str]) -> NoReturn:
        os.chdir(ROOT)
        os.execvpe(command[0], command, self._env)  # noqa: S606

    def _say_what_failed(self) -> None:
        """Shows the last log line of each service that failed or is unhealthy."""
        for row in map(json.loads, self._output("ps", "--all", "--format", "json").splitlines()):
            if row["ExitCode"] or row["Health"] == "unhealthy":
                name = row["Service"]
                log = self._output("logs", "--no-log-prefix", name).strip().splitlines() or ["it wrote nothing"]
                say(f"{name}: {log[-1]}; ./arena logs {name} says more")

    def _settings(self) -> Settings:
        """Returns the settings of the services in the containers, but with the page's port on the host."""
        chosen = {name: self._env.get(name, "") for name in ("UI_PORT", "KV_CONNECTOR", "KV_SERDE")}
        return Settings.from_env({**INSIDE, **chosen})


def container_settings(composition: Composition) -> Settings:
    """Returns the settings of the servers in containers, from the page's environment, which has all of them.

    Raises ConfigError or StackError.
    """
    config = json.loads(run_output(composition.command("config", "--format", "json"), composition.environment()))
    settings = Settings.from_env(config["services"]["page"]["environment"])
    if "/" not in settings.model:
        raise unknown_model_error(settings.model)
    return settings


def service_statuses(listed: str, pids: dict[str, int], settings: Settings) -> tuple[ServiceStatus, ...]:
    """Returns the status of each expected service.

    `listed` is the output of `docker compose ps --all --format json`, one object a line; `pids` are by container id.
    """
    rows = {row["Service"]: row for row in map(json.loads, listed.splitlines())}
    return tuple(_status(service, rows.get(service.name), pids) for service, _ in expected_services(settings))


def _status(service: ServiceStatus, row: dict[str, str] | None, pids: dict[str, int]) -> ServiceStatus:
    if row is None:
        return replace(service, state="absent")
    health = row.get("Health")
    state = f"{row['State']}, {health}" if health else row["State"]
    return replace(service, healthy=health == "healthy", pid=pids.get(row["ID"], 0), state=state)


def _no_tty() -> tuple[str, ...]:
    return () if sys.stdin.isatty() else ("--no-TTY",)
