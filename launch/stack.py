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
    """One line of `status`. In containers, `url` has the engine's name on their network: its port is unpublished."""

    name: str
    kind: ServiceKind
    url: str
    healthy: bool = False
    pid: int = 0  # on this machine; 0 if it does not run
    state: str = "STOPPED"  # a state's name in supervisord, or in Docker


class Stack(Protocol):
    """One form of the stack; every command works the same way with both forms."""

    def start(self) -> str:
        """Starts everything, waits until all is healthy, and returns the message to show, with the page's address.

        Raises StackError if something does not become healthy; `abandon` then cleans up.
        """

    def abandon(self, *, interrupted: bool) -> None:
        """Cleans up after an error or interrupt during the start or in the foreground."""

    def watch(self) -> None:
        """Reports changes of the services, until another command stops the stack.

        Raises StackError if the stack died.
        """

    def stop(self, *, volumes: bool = False) -> str:
        """Stops all services, with `volumes` also deletes Docker's volumes, and returns the message to show."""

    def services(self) -> tuple[ServiceStatus, ...]:
        """Returns the status of each service, in display order."""

    def kv_store(self) -> str:
        """Returns the KV volume's location: a folder of this machine, or the name of a Docker volume."""

    def restart(self, names: Sequence[str]) -> None:
        """Restarts services, and returns before they are healthy again."""

    def show_log(self, name: str, *, follow: bool) -> NoReturn:
        """Replaces this process (exec) with one that prints a service's log."""


def expected_services(settings: Settings) -> tuple[tuple[ServiceStatus, str], ...]:
    """Returns each service in its state before the start, with its health path, in the order of starting."""
    topology = Topology.of(settings)
    caches = tuple((ServiceStatus(each.name, each.kind, each.url), "/healthcheck") for each in topology.caches)
    engines = tuple((ServiceStatus(each.name, each.kind, each.url), "/health") for each in topology.engines)
    return (*caches, *engines, (ServiceStatus("page", ServiceKind.PAGE, page_url(settings)), "/"))


def page_url(settings: Settings) -> str:
    """Returns the page's address for a browser on this machine."""
    return f"http://127.0.0.1:{settings.ui_port}"


def show(result: CheckResult) -> None:
    """Prints a check's result to stderr."""
    mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[result.status]
    say(f"{mark} {result.subject}: {result.fact}")
    if result.advice:
        say(f"       {result.advice}")


def refuse_failed(results: Sequence[CheckResult], fact: str) -> None:
    """Shows the failed checks; raises StackError with `fact` if there are any."""
    failed = failed_checks(results)
    for result in failed:
        show(result)
    if failed:
        raise StackError(fact)


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only its owner can read; an empty text leaves no file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    if text:
        path.touch(mode=0o600)
        path.write_text(text)


@contextmanager
def start_lock(home: Path) -> Iterator[None]:
    """Locks the home folder while a stack is started. Raises StackError if another process has the lock.

    The kernel releases the lock when its process ends.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StackError(
                "another ./arena up is still starting the stack; ./arena status shows its progress"
            ) from exc
        yield
