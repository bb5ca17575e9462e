"""`./arena up | down | status | logs | doctor`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cache.lmcache_command import all_commands
from config.errors import ConfigError, StackError
from config.exit_codes import caller_settings, run_app
from config.paths import arena_home
from config.run_state import containers_file
from config.settings import Settings
from engines import prepare_model
from launch import install
from launch.check_result import CheckResult, failed_checks
from launch.doctor import check_machine, needed_by_up
from launch.processes import LocalStack, remove_stale_files, start_lock
from launch.signals import interrupt_once
from launch.start_progress import StartProgress
from launch.supervisord import ProcessState

app = typer.Typer(no_args_is_help=True, add_completion=False)
console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
say = console.print


@app.callback()
def main() -> None:
    """The arena on this machine: four real vLLM engines, two LMCache servers and the page."""


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is healthy.")] = False,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Engines and cache servers only.")] = False,
    model_: Annotated[
        str, typer.Option("--model", help="A name of ./arena models, a folder, or a hub's owner/name.")
    ] = "",
    kv_store_dir: Annotated[
        str, typer.Option("--kv-store-dir", help="The KV volume that both lmcache engines share.")
    ] = "",
    port: Annotated[int | None, typer.Option("--port", help="The page's port.", min=1, max=65535)] = None,
    engines: Annotated[
        int | None, typer.Option("--engines", help="4, or 2 on a small machine: the lmcache pair alone.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Show each server's command line, and start nothing.")] = False,
) -> None:
    """Start the stack; Ctrl+C stops it (or, with --detach, ./arena down).

    Options go before .env, and .env before the defaults. As containers: ./arena up --docker --help.
    """
    given = {
        "MODEL": model_,
        "KV_STORE_DIR": kv_store_dir and str(Path(kv_store_dir).expanduser().absolute()),
        "UI_PORT": str(port or ""),
        "ENGINES": str(engines or ""),
    }
    os.environ.update({key: value for key, value in given.items() if value})
    if show:
        _print_commands()
        return
    interrupt_once()
    home = arena_home(os.environ)
    _refuse_beside_containers(home)
    stack = None
    try:
        with start_lock(home):
            stack = _prepared(home)
            _start(stack, page=not no_ui)
        if not detach:
            _say_ready(stack, page=not no_ui)
            _stay(stack)
    except BaseException as exc:  # an OSError, where the terminal was closed and nothing can be said
        if stack:
            stack.stop()
        if isinstance(exc, KeyboardInterrupt):
            say("interrupted; nothing of the stack is left running")
        raise
    if detach:
        _say_ready(stack, page=not no_ui)


def _say_ready(stack: LocalStack, *, page: bool) -> None:
    say(f"ready: {stack.url}" if page else 'ready: ./arena ask lmcache-a "…"')


def _print_commands() -> None:
    settings = caller_settings()
    prepare_model.checked_model(settings.model, arena_home(os.environ) / "models")
    for name, command in all_commands(settings):
        print(f"# {name}\n{command}")


@app.command()
def down() -> None:
    """Stop everything that `up` started."""
    stack = _stack()
    was_running = stack.supervisor.is_running()
    stack.stop()
    say("stopped" if was_running else "nothing ran")
    if containers_file(stack.home).exists():
        say("containers were started from here, too: ./arena down once more ends them")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What runs, where, and whether it is healthy. Exit code 1 when something is not."""
    stack = _stack()
    services = stack.services()
    if as_json:
        print(
            json.dumps(
                {
                    "services": [s.to_json() for s in services],
                    "kv_store_dir": str(stack.settings.kv_store_dir),
                },
                indent=1,
            )
        )
    else:
        table = Table("service", "kind", "url", "healthy", "pid", "state", box=None)
        for s in services:
            table.add_row(s.name, s.kind, s.url, "yes" if s.healthy else "no", str(s.pid or ""), s.state.lower())
        Console(soft_wrap=True).print(table)
    raise typer.Exit(0 if all(service.healthy for service in services) else 1)


@app.command()
def restart(
    names: Annotated[list[str], typer.Argument(help="Services' names, in the order of their restart.")],
) -> None:
    """Restart services; `status` says when they are healthy again."""
    supervisor = _stack().supervisor
    known = supervisor.processes()
    if not known:
        raise StackError("nothing runs: ./arena up")
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"no service '{unknown[0]}'; there are: {', '.join(sorted(known))}")
    for name in names:
        supervisor.restart(name)
        say(f"{name} is on its way up")


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A service's name, or 'supervisor'.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written.")] = False,
) -> None:
    """What a service wrote."""
    folder = _stack().supervisor.logs
    path = folder / f"{name}.log"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.log"))) or "none yet"
        raise ConfigError(f"no log of '{name}'; there are: {known}")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and tail would complain into `| head`
    os.execvp("tail", ["tail", "-n", "+1" if not follow else "50", *(["-F"] if follow else []), str(path)])  # noqa: S606, S607


@app.command()
def doctor() -> None:
    """What this machine lacks, and what to do about it. Exit code 1 when the stack could not start."""
    stack = _stack()
    findings = tuple(check_machine(stack.settings, running=stack.supervisor.is_running()))
    for finding in findings:
        _show(finding)
    raise typer.Exit(1 if failed_checks(findings) else 0)


def _stack() -> LocalStack:
    return LocalStack(arena_home(os.environ), caller_settings())


def _refuse_beside_containers(home: Path) -> None:
    """Both forms take the same memory and the page's port. A Docker that does not answer runs none."""
    if containers_file(home).exists():
        asked = subprocess.run([sys.executable, "-m", "launch.containers", "exist"], capture_output=True)
        if asked.returncode == 0:
            raise StackError("the stack runs as containers: ./arena status shows it, ./arena down ends it")


def _prepared(home: Path) -> LocalStack:
    """A stack that can be started: none runs, the model is there, and the machine has what it takes."""
    remove_stale_files(home)
    settings = caller_settings()
    stack = LocalStack(home, settings)
    if stack.supervisor.is_running():
        raise StackError(f"the stack already runs at {stack.url}; ./arena status shows it, ./arena down ends it")
    _examine(settings)
    if install.main(["engines"]):
        raise StackError("the engines' environment could not be made")
    python = home / "env" / "engines" / "bin" / "python"
    served = prepare_model.resolve_model(settings.model, home / "models", python, say)
    return LocalStack(home, settings.model_copy(update={"model": served}))


def _examine(settings: Settings) -> None:
    bad = failed_checks(needed_by_up(settings))
    for finding in bad:
        _show(finding)
    if bad:
        raise StackError("this machine cannot start the stack yet; ./arena doctor shows everything")


def _show(finding: CheckResult) -> None:
    mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[finding.verdict]
    say(f"{mark} {finding.subject}: {finding.fact}")
    if finding.advice:
        say(f"       {finding.advice}")


def _start(stack: LocalStack, *, page: bool) -> None:
    from cache.preheat import preheat  # its SDK takes a second to import

    began = time.monotonic()
    caches, engines = len(stack.topology.caches), len(stack.topology.engines)
    say(f"starting {caches} cache servers and {engines} engines: one to three minutes")
    with StartProgress(console) as progress:
        stack.start(progress, page=page)
        say("preheating every engine")
        try:
            asyncio.run(preheat(stack.topology, progress.done))
        except BaseException:
            stack.stop()
            raise
    say(f"everything is up after {time.monotonic() - began:.0f} s; KV volume {stack.settings.kv_store_dir}")


def _stay(stack: LocalStack) -> None:
    """Reports restarts until Ctrl+C or SIGTERM, then stops everything."""
    say("Ctrl+C stops it")
    try:
        known = stack.supervisor.processes()
        while now := stack.supervisor.processes():
            for name, process in now.items():
                _report(known.get(name), process)
            known = now
            time.sleep(1)
        _gone(stack)
    except KeyboardInterrupt:
        try:
            say("stopping")
        finally:
            stack.stop()
        say("stopped")


def _gone(stack: LocalStack) -> None:
    """supervisord answers no more: stopped by ./arena down, or killed."""
    killed = not stack.supervisor.was_stopped()
    stack.stop()
    if killed:
        raise StackError("supervisord died, and the stack was ended with it; ./arena up starts it again")
    say("the stack was stopped from elsewhere")


def _report(before: ProcessState | None, now: ProcessState) -> None:
    if now.given_up and not (before and before.given_up):
        say(f"{now.name} is given up after too many restarts; ./arena logs {now.name} says why")
    elif before and before.pid and before.pid != now.pid:
        fact = f"restarted as {now.pid}" if now.pid else f"is {now.state.lower()}: {now.said}"
        say(f"{now.name} (process {before.pid}) died; {fact}; ./arena logs {now.name} says why")
    elif before and not before.pid and now.pid:
        say(f"{now.name} is back as process {now.pid}")


if __name__ == "__main__":
    run_app(app)
