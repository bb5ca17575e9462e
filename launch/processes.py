"""The stack as processes of this machine, which run the same commands as the containers."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import httpx
from rich.console import Console

from cache.lmcache_command import shm_name
from client.http_client import local_http_client
from client.measurement_lock import MeasurementLock
from config.errors import ConfigError, StackError
from config.exit_codes import caller_settings
from config.paths import ROOT
from config.run_state import containers_file, settings_file
from config.service_environment import ServiceRole, service_environment, supervisor_environment
from config.settings import Settings
from config.topology import ServiceKind, Topology
from engines import prepare_model
from engines.vllm_command import PRELOADED, PRELOADER, vllm_command
from launch import install
from launch.doctor import needed_by_processes
from launch.ports import is_free
from launch.signals import uninterrupted
from launch.stack import ServiceStatus, console, expected_services, page_url, refuse_failed, say, write_secret
from launch.supervisord import ProcessState, SupervisedProgram, Supervisor

DEADLINE_S = 900  # for everything to be healthy; a start takes one to five minutes
POLL_S = 0.5
WAITING_S = 30  # between two lines about waiting if there is no terminal, on which one line is updated
ROLE_OF_KIND = {
    ServiceKind.PLAIN: ServiceRole.ENGINE,
    ServiceKind.LMCACHE: ServiceRole.ENGINE,
    ServiceKind.CACHE: ServiceRole.CACHE,
    ServiceKind.PAGE: ServiceRole.PAGE,
}
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # Linux's folder of POSIX shared memory


class LocalStack:
    """The services of one ARENA_HOME, without the page if `page` is False."""

    def __init__(
        self, home: Path, settings: Settings, environ: Mapping[str, str] = os.environ, *, page: bool = True
    ) -> None:
        self.home, self.settings, self._environ, self._page = home, settings, environ, page
        self.topology = Topology.of(settings)
        self.supervisor = Supervisor(home / "run")
        self._token_file, self._password_file = home / "run" / "hf_token", home / "run" / "ui_password"
        self._has_preloader = settings.device == "cpu"
        self._preloader_socket = home / "run" / "preloader.sock"

    @classmethod
    def prepare(cls, home: Path, *, page: bool) -> LocalStack:
        """Returns a stack that can be started, after checking the machine and preparing engines and model.

        First ends the remaining processes of a stack whose supervisord was killed. Raises StackError if a stack already
        runs or a check fails, ConfigError for an invalid setting.
        """
        settings = caller_settings()
        if settings.in_process:
            raise ConfigError(f"KV_CONNECTOR={settings.kv_connector} needs GPUs, and containers: ./arena up --docker")
        stack = cls(home, settings)
        if stack.supervisor.is_running():
            raise StackError(f"the stack already runs at {stack.url}; ./arena status shows it, ./arena down ends it")
        stack.supervisor.sweep()
        stack._remove_files()
        fact = "this machine cannot start the stack yet; ./arena doctor shows everything"
        refuse_failed(tuple(needed_by_processes(settings)), fact)
        if install.main(["engines"]):
            raise StackError("the engines' environment could not be made")
        python = home / "env" / "engines" / "bin" / "python"
        served = prepare_model.resolve_model(settings.model, home / "models", python, say)
        return cls(home, settings.model_copy(update={"model": served}), page=page)

    @property
    def url(self) -> str:
        """The page's address."""
        return page_url(self.settings)

    def start(self) -> str:
        """Starts everything in the order of `_needs`, and preheats every engine."""
        from cache.preheat import preheat  # imported here, because its SDK takes a second to import

        began = time.monotonic()
        kinds = {each.name: each.kind for each, _ in expected_services(self.settings)}
        if not self._page:
            kinds = {name: kind for name, kind in kinds.items() if kind is not ServiceKind.PAGE}
        caches, engines = len(self.topology.caches), len(self.topology.engines)
        say(f"starting {caches} cache servers and {engines} engines: about a minute")
        with StartProgress(console) as progress:
            helpers = [self._keeper(), *([self._preloader()] if self._has_preloader else [])]
            programs = [*helpers, *(self._program(name, kind) for name, kind in kinds.items())]
            self.supervisor.start(programs, self._common_env())
            self._record_settings()
            for program in helpers:
                self.supervisor.run(program.name)
            self._start_in_order(_needs(kinds), progress)
            say("preheating every engine")
            with MeasurementLock.of(self._environ).held("preheating", say):  # the page is open by now
                asyncio.run(preheat(self.topology, progress.done))
        say(f"everything is up after {time.monotonic() - began:.0f} s; KV volume {self.settings.kv_store_dir}")
        return f"ready: {self.url}" if self._page else 'ready: ./arena ask lmcache-a "…"'

    def abandon(self, *, interrupted: bool) -> None:  # noqa: ARG002
        self.stop()

    def watch(self) -> None:
        """Reports restarts until the stack is stopped. Raises StackError if supervisord died."""
        known = self.supervisor.processes()
        while now := self.supervisor.processes():
            for name, process in now.items():
                _report(known.get(name), process)
            known = now
            time.sleep(1)
        killed = not self.supervisor.was_stopped()  # otherwise ./arena down stopped it
        self.stop()
        if killed:
            raise StackError("supervisord died, and the stack was ended with it; ./arena up starts it again")

    def stop(self, *, volumes: bool = False) -> str:
        """Stops everything, and removes the shared memory of killed cache servers. Raises ConfigError for `volumes`."""
        if volumes:
            raise ConfigError("--volumes deletes Docker's volumes, and no containers run: leave it out")
        was_running = self.supervisor.is_running()
        with uninterrupted():
            self.supervisor.stop()
            self._remove_files()
            for cache in self.topology.caches:
                if is_free(cache.mq_port):  # otherwise a stack of another ARENA_HOME uses it
                    (SHARED_MEMORY / f"lmcache_l1_pool_{shm_name(cache)}").unlink(missing_ok=True)
        fact = "stopped" if was_running else "nothing ran"
        if containers_file(self.home).exists():
            fact += "\ncontainers were started from here, too: ./arena down once more ends them"
        return fact

    def services(self) -> tuple[ServiceStatus, ...]:
        processes = self.supervisor.processes()
        with local_http_client(2) as client:
            return tuple(
                _service(client, processes.get(service.name), service, path)
                for service, path in expected_services(self.settings)
                if service.name in processes or not processes
            )

    def kv_store(self) -> str:
        return str(self.settings.kv_store_dir)

    def restart(self, names: Sequence[str]) -> None:
        known = self.supervisor.processes()
        if not known:
            raise StackError("nothing runs: ./arena up")
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"no service '{unknown[0]}'; there are: {', '.join(sorted(known))}")
        for name in names:
            self.supervisor.restart(name)
            say(f"{name} is on its way up")

    def show_log(self, name: str, *, follow: bool) -> NoReturn:
        path = self.supervisor.logs / f"{name}.log"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.log"))) or "none yet"
            raise ConfigError(f"no log of '{name}'; there are: {known}")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ignored by Python; tail would report an error in `| head`
        os.execvp("tail", ["tail", *(["-n", "50", "-F"] if follow else ["-n", "+1"]), str(path)])  # noqa: S606, S607

    def _start_in_order(self, needs: Mapping[str, Collection[str]], progress: StartProgress) -> None:
        """Starts each service when those that it needs are healthy, and waits until all are."""
        began = time.monotonic()
        started, healthy = dict[str, float](), set[str]()
        while len(healthy) < len(needs):
            for name in needs:
                if name not in started and healthy.issuperset(needs[name]):
                    self.supervisor.run(name)
                    started[name] = time.monotonic()
            for service in self.services():
                if service.name not in started or service.name in healthy:
                    continue
                if service.healthy:
                    healthy.add(service.name)
                    where = f", at {self.url}," if service.kind is ServiceKind.PAGE else ""
                    progress.done(f"{service.name} is healthy{where}", time.monotonic() - began)
                else:
                    self._check_progress(service, time.monotonic() - started[service.name])
            if len(healthy) < len(needs):
                progress.waiting([name for name in needs if name not in healthy], time.monotonic() - began)
                time.sleep(POLL_S)

    def _check_progress(self, service: ServiceStatus, waited: float) -> None:
        process = self.supervisor.processes().get(service.name)
        died = process is None or process.state in ("BACKOFF", "EXITED", "FATAL")
        if died or waited > DEADLINE_S:
            fact = "died while starting" if died else f"is not healthy after {waited:.0f} s"
            log = self.supervisor.logs / f"{service.name}.log"
            raise StackError(f"{service.name} {fact}: {last_log_line(log)}\nall of it: {log}")

    def _record_settings(self) -> None:
        """Records the settings, so that other commands can find what runs (config/settings.py reads them)."""
        draft = settings_file(self.home).with_suffix(".partial")
        draft.write_text(json.dumps(self.settings.to_env(), indent=1))
        draft.replace(settings_file(self.home))

    def _remove_files(self) -> None:
        for path in (settings_file(self.home), self._token_file, self._password_file, self._preloader_socket):
            path.unlink(missing_ok=True)

    def _keeper(self) -> SupervisedProgram:
        """Returns the process that keeps the KV volume within its limits."""
        env = service_environment(ServiceRole.KEEPER, self._environ, self.settings.to_env(), fetches=False)
        return SupervisedProgram("keeper", (sys.executable, "-m", "cache", "keep"), env)

    def _preloader(self) -> SupervisedProgram:
        """Returns the process that the engines are forked from. It has an engine's environment, which imports read.

        OpenBLAS must not start threads when numpy is imported, because forks would lack them.
        """
        command = vllm_command(self.topology.engines[0], self.settings)
        env = {**self._service_env(ServiceKind.PLAIN), **command.env, "OPENBLAS_NUM_THREADS": "1"}
        python = self.home / "env" / "engines" / "bin" / "python"
        return SupervisedProgram(
            "preloader", (str(python), "-m", "engines.preload", str(self._preloader_socket), *PRELOADED), env
        )

    def _program(self, name: str, kind: ServiceKind) -> SupervisedProgram:
        package = {ServiceKind.PAGE: ("frontend",), ServiceKind.CACHE: ("cache", "serve", name)}
        module, env = package.get(kind, ("engines", "serve", name)), self._service_env(kind)
        if self._has_preloader and ROLE_OF_KIND[kind] is ServiceRole.ENGINE:
            env[PRELOADER] = str(self._preloader_socket)
        return SupervisedProgram(name, (sys.executable, "-m", *module), env)

    def _common_env(self) -> dict[str, str]:
        """Returns supervisord's environment, mostly paths, which is also part of every service's environment."""
        env = supervisor_environment(self._environ)
        path = f"{self.home / 'env' / 'engines' / 'bin'}:{env.get('PATH', os.defpath)}"
        own = {"PATH": path, "ARENA_HOME": str(self.home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return env | own

    def _service_env(self, kind: ServiceKind) -> dict[str, str]:
        """Returns a service's additional environment; writes its secret's file.

        It contains the settings, those of the caller's variables that the service needs, and the file's path.
        """
        role, offline = ROLE_OF_KIND[kind], Path(self.settings.model).is_dir()
        fetches = not offline or bool(self.settings.media_domains)
        env = service_environment(role, self._environ, self.settings.to_env(), fetches=fetches)
        if role is ServiceRole.PAGE:
            env["RESTART_COMMAND"] = shlex.join([sys.executable, "-m", "launch", "restart"])
        elif offline:
            env["HF_HUB_OFFLINE"] = "1"
        secrets = {
            ServiceRole.PAGE: (self.settings.ui_password, "UI_PASSWORD_FILE", self._password_file),
            ServiceRole.ENGINE: (self.settings.hf_token, "HF_TOKEN_PATH", self._token_file),
        }
        if role in secrets:
            secret, variable, file = secrets[role]
            write_secret(file, secret.get_secret_value())
            env |= {variable: str(file)} if file.exists() else {}
        return env


class StartProgress:
    """Shows what a start waits for: a terminal's last line counts the seconds, a log gets a line every WAITING_S."""

    def __init__(self, console: Console) -> None:
        self._console, self._status = console, console.status("")
        self._last_s = 0.0

    def __enter__(self) -> StartProgress:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def done(self, what: str, seconds: float) -> None:
        """Reports that a step finished `seconds` after its start."""
        self._console.print(f"  {what} after {seconds:.0f} s")

    def waiting(self, names: Collection[str], seconds: float) -> None:
        """Reports the services that are not healthy `seconds` after their start."""
        text = f"waiting for {', '.join(names)}: {seconds:.0f} s"
        if self._console.is_terminal:
            self._status.update(text)
        elif seconds - self._last_s >= WAITING_S or seconds < self._last_s:
            self._last_s = seconds
            self._console.print(f"  {text}")


def last_log_line(log: Path) -> str:
    """Returns the last line that contains an error, otherwise the last line, cut to 400 characters."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrapper = "See root cause above"  # how vLLM ends its log, with the cause some lines before
    errors = [line for line in lines if ("Error" in line or "error:" in line) and wrapper not in line]
    return (errors or lines or ["it wrote nothing"])[-1][:400]


def _needs(kinds: Mapping[str, ServiceKind]) -> dict[str, Sequence[str]]:
    """Returns what has to be healthy before each service is started.

    The page comes first, because it takes seconds and the rest a minute. An lmcache engine gives up if it finds no
    cache server.
    """
    page, caches = ([n for n, kind in kinds.items() if kind is w] for w in (ServiceKind.PAGE, ServiceKind.CACHE))
    needs = {ServiceKind.PAGE: [], ServiceKind.LMCACHE: caches}
    return {name: needs.get(kind, page) for name, kind in kinds.items()}


def _service(client: httpx.Client, process: ProcessState | None, service: ServiceStatus, path: str) -> ServiceStatus:
    if process is None:
        return service
    try:
        healthy = process.pid > 0 and client.get(service.url + path).is_success
    except httpx.HTTPError:
        healthy = False
    return ServiceStatus(service.name, service.kind, service.url, healthy, process.pid, process.state)


def _report(before: ProcessState | None, now: ProcessState) -> None:
    if now.given_up and not (before and before.given_up):
        say(f"{now.name} is given up after too many restarts; ./arena logs {now.name} says why")
    elif before and before.pid and before.pid != now.pid:
        fact = f"restarted as {now.pid}" if now.pid else f"is {now.state.lower()}: {now.description}"
        say(f"{now.name} (process {before.pid}) died; {fact}; ./arena logs {now.name} says why")
    elif before and not before.pid and now.pid:
        say(f"{now.name} is back as process {now.pid}")
