"""What the two forms of the stack, processes and containers, have in common."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from rich.console import Console

from config.errors import StackError
from config.settings import Settings
from config.topology import ServiceKind, Topology
from launch.check_result import CheckResult, failed_checks

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
say = console.print


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One line of `status`. In containers an engine's `url` is its name on their network: no port is published."""

    name: str
    kind: ServiceKind
    url: str
    healthy: bool = False
    pid: int = 0  # on this machine; 0 when it does not run
    state: str = "STOPPED"  # in the words of supervisord, or of Docker


class Stack(Protocol):
    """One form of the stack: the commands do the same with both."""

    def start(self) -> str:
        """Starts everything, and returns when all is healthy with the line that says where it is.

        Raises StackError when something does not become healthy; `abandon` then cleans up.
        """

    def abandon(self, *, interrupted: bool) -> None:
        """Cleans up after a start, or a stay in the foreground, that failed."""

    def watch(self) -> None:
        """Reports what happens to the services, until the stack was stopped by another command.

        Raises StackError when it died.
        """

    def stop(self, *, volumes: bool = False) -> str:
        """Ends all services, and says what there is to say about it. `volumes`: deletes Docker's volumes as well."""

    def services(self) -> tuple[ServiceStatus, ...]:
        """How each service is, in the order in which they are shown."""

    def kv_store(self) -> str:
        """Where the KV volume lies: a folder of this machine, or the name of a Docker volume."""

    def restart(self, names: Sequence[str]) -> None:
        """Restarts services, and returns before they are healthy again."""

    def show_log(self, name: str, *, follow: bool) -> NoReturn:
        """This process becomes one that prints what a service wrote."""


def expected_services(settings: Settings) -> tuple[tuple[ServiceStatus, str], ...]:
    """Each service as it is before it is started, and its health path, in the order of their start."""
    topology = Topology.of(settings)
    caches = tuple((ServiceStatus(each.name, each.kind, each.url), "/healthcheck") for each in topology.caches)
    engines = tuple((ServiceStatus(each.name, each.kind, each.url), "/health") for each in topology.engines)
    return (*caches, *engines, (ServiceStatus("page", ServiceKind.PAGE, page_url(settings)), "/"))


def page_url(settings: Settings) -> str:
    """As a browser of this machine reaches it."""
    return f"http://127.0.0.1:{settings.ui_port}"


def show(result: CheckResult) -> None:
    """A finding, on stderr."""
    mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[result.status]
    say(f"{mark} {result.subject}: {result.fact}")
    if result.advice:
        say(f"       {result.advice}")


def refuse_failed(results: Sequence[CheckResult], fact: str) -> None:
    """Shows what is bad; raises StackError when anything is."""
    failed = failed_checks(results)
    for result in failed:
        show(result)
    if failed:
        raise StackError(fact)


def write_secret(path: Path, text: str) -> None:
    """A file that only its owner reads; no file when the text is empty."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    if text:
        path.touch(mode=0o600)
        path.write_text(text)


@contextmanager
def start_lock(home: Path) -> Iterator[None]:
    """Held while a stack is started; the kernel frees it with its process. Raises StackError if held."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StackError(
                "another ./arena up is still starting the stack; ./arena status shows its progress"
            ) from exc
        yield
