"""The stack on one machine: the same commands that containers run, as processes; up, down and what is up."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from cache.lmcache_command import shm_name
from client.http_client import local_http_client
from config.errors import StackError
from config.paths import ROOT
from config.run_state import settings_file
from config.service_environment import ServiceRole, service_environment, supervisor_environment
from config.settings import Settings
from config.topology import ServiceKind, Topology
from launch.ports import is_free
from launch.signals import uninterrupted
from launch.start_progress import StartProgress
from launch.supervisord import ProcessState, Supervisor
from launch.supervisord_config import SupervisedProgram

DEADLINE_S = 900  # for everything to be healthy; a start takes one to five minutes
POLL_S = 0.5
ROLE_OF_KIND = {
    ServiceKind.PLAIN: ServiceRole.ENGINE,
    ServiceKind.LMCACHE: ServiceRole.ENGINE,
    ServiceKind.CACHE: ServiceRole.CACHE,
    ServiceKind.PAGE: ServiceRole.PAGE,
}
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where POSIX shared memory lies on Linux


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One line of `status`. `pid` is 0 when it does not run."""

    name: str
    kind: ServiceKind
    url: str
    healthy: bool
    pid: int
    state: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


class LocalStack:
    """The services of one ARENA_HOME."""

    def __init__(self, home: Path, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
        self.home, self.settings, self._environ = home, settings, environ
        self.topology = Topology.of(settings)
        self.supervisor = Supervisor(home / "run")
        self._settings, self._token_file, self._password_file = _files(home)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.settings.ui_port}"

    @property
    def roster(self) -> tuple[tuple[str, ServiceKind, str, str], ...]:
        """Name, kind, URL and health path of each service, in the order in which they are started and shown."""
        caches = tuple((cache.name, cache.kind, cache.url, "/healthcheck") for cache in self.topology.caches)
        engines = tuple((engine.name, engine.kind, engine.url, "/health") for engine in self.topology.engines)
        return (*caches, *engines, ("page", ServiceKind.PAGE, self.url, "/"))

    def start(self, progress: StartProgress, *, page: bool = True) -> None:
        """Starts everything and returns when all are healthy; raises StackError, with nothing left running, else.

        Cache servers come first: an lmcache engine that finds none gives up.
        """
        programs = [self._program(name, kind) for name, kind, *_ in self.roster if page or kind is not ServiceKind.PAGE]
        caches = [cache.name for cache in self.topology.caches]
        try:
            self.supervisor.start(programs, self._env())
            self._remember()
            self._start_together(caches, progress)
            self._start_together([program.name for program in programs if program.name not in caches], progress)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all services and removes the shared memory that a killed cache server could not."""
        with uninterrupted():
            self._stop()

    def _stop(self) -> None:
        self.supervisor.stop()
        _remove(self.home)
        for cache in self.topology.caches:
            if is_free(cache.mq_port):  # else it is another stack's, from another ARENA_HOME
                (SHARED_MEMORY / f"lmcache_l1_pool_{shm_name(cache)}").unlink(missing_ok=True)

    def services(self) -> tuple[ServiceStatus, ...]:
        """How each service does, right now."""
        processes = self.supervisor.processes()
        with local_http_client(2) as client:
            return tuple(
                _service(client, processes.get(name), name, kind, url, path)
                for name, kind, url, path in self.roster
                if name in processes or not processes
            )

    def _start_together(self, names: list[str], progress: StartProgress) -> None:
        began = time.monotonic()
        for name in names:
            self.supervisor.run(name)
        waiting = dict.fromkeys(names)
        while waiting:
            waited = time.monotonic() - began
            for service in self.services():
                if service.name in waiting and service.healthy:
                    del waiting[service.name]
                    progress.done(f"{service.name} is healthy", waited)
                elif service.name in waiting:
                    self._check_progress(service, waited)
            if waiting:
                progress.waiting(waiting, waited)
                time.sleep(POLL_S)

    def _check_progress(self, service: ServiceStatus, waited: float) -> None:
        process = self.supervisor.processes().get(service.name)
        died = process is None or process.state in ("BACKOFF", "EXITED", "FATAL")
        if died or waited > DEADLINE_S:
            fact = "died while starting" if died else f"is not healthy after {waited:.0f} s"
            log = self.supervisor.logs / f"{service.name}.log"
            raise StackError(f"{service.name} {fact}: {last_log_line(log)}\nall of it: {log}")

    def _remember(self) -> None:
        draft = self._settings.with_suffix(".partial")
        draft.write_text(json.dumps(self.settings.to_env(), indent=1))
        draft.replace(self._settings)

    def _program(self, name: str, kind: ServiceKind) -> SupervisedProgram:
        module = {ServiceKind.PAGE: ("frontend",), ServiceKind.CACHE: ("cache", "serve", name)}.get(
            kind, ("engines", "serve", name)
        )
        return SupervisedProgram(name, (sys.executable, "-m", *module), self._given(kind))

    def _env(self) -> dict[str, str]:
        """supervisord's own, and so part of every service's: where things are."""
        env = supervisor_environment(self._environ)
        path = f"{self.home / 'env' / 'engines' / 'bin'}:{env.get('PATH', os.defpath)}"
        own = {"PATH": path, "ARENA_HOME": str(self.home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return env | own

    def _given(self, kind: ServiceKind) -> dict[str, str]:
        """What a service of this kind has besides: settings, what it needs of the caller's, its secret's file."""
        offline = Path(self.settings.model).is_dir()
        fetches = not offline or bool(self.settings.media_domains)
        env = service_environment(ROLE_OF_KIND[kind], self._environ, self.settings.to_env(), fetches=fetches)
        if kind is ServiceKind.PAGE:
            return env | self._page_env()
        offline_env = {"HF_HUB_OFFLINE": "1"} if offline else {}
        return env | offline_env | (self._token() if ROLE_OF_KIND[kind] is ServiceRole.ENGINE else {})

    def _token(self) -> dict[str, str]:
        token = self.settings.hf_token.get_secret_value()
        return {"HF_TOKEN_PATH": str(_secret(self._token_file, token))} if token else {}

    def _page_env(self) -> dict[str, str]:
        """How the page restarts a service, and where its password lies."""
        password = self.settings.ui_password.get_secret_value()
        restart = {"RESTART_COMMAND": shlex.join([sys.executable, "-m", "launch", "restart"])}
        return restart | ({"UI_PASSWORD_FILE": str(_secret(self._password_file, password))} if password else {})


def _secret(path: Path, text: str) -> Path:
    """A file that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def last_log_line(log: Path) -> str:
    """The last line that tells an error, or else the last line."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrapper = "See root cause above"  # how vLLM ends its log, with the cause some lines before
    errors = [line for line in lines if ("Error" in line or "error:" in line) and wrapper not in line]
    return (errors or lines or ["it wrote nothing"])[-1][:400]


def _service(
    client: httpx.Client, process: ProcessState | None, name: str, kind: ServiceKind, url: str, path: str
) -> ServiceStatus:
    try:
        healthy = process is not None and process.pid > 0 and client.get(url + path).is_success
    except httpx.HTTPError:
        healthy = False
    return ServiceStatus(
        name, kind, url, healthy, process.pid if process else 0, process.state if process else "STOPPED"
    )


def _files(home: Path) -> tuple[Path, Path, Path]:
    """Of a running stack: its settings, the token and the password."""
    return settings_file(home), home / "run" / "hf_token", home / "run" / "ui_password"


def _remove(home: Path) -> None:
    for path in _files(home):
        path.unlink(missing_ok=True)


def remove_stale_files(home: Path) -> None:
    """Ends what is left of a stack whose supervisord was killed, with its files; a running one is not touched."""
    supervisor = Supervisor(home / "run")
    if not supervisor.is_running():
        supervisor.sweep()
        _remove(home)


@contextmanager
def start_lock(home: Path) -> Iterator[None]:
    """Held while a stack is started; the kernel frees it with its process. Raises StackError if held."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StackError("another ./arena up is at work; ./arena status shows how far it is") from exc
        yield
