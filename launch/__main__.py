"""`./arena up | down | status | logs | restart | doctor`; other commands are passed on to their packages."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cache.lmcache_command import all_commands
from client.volume_use import VolumeUse, describe_use
from config.errors import ConfigError, StackError
from config.exit_codes import caller_settings, run_app
from config.paths import arena_home
from config.settings import Settings
from engines.prepare_model import checked_model
from launch.check_result import failed_checks
from launch.client_commands import run_client_command
from launch.compose import PROFILES, Composition
from launch.containers import Containers, container_settings
from launch.doctor import check_containers, check_processes
from launch.processes import LocalStack
from launch.signals import interrupt_once
from launch.stack import Stack, say, show, start_lock

app = typer.Typer(no_args_is_help=True, add_completion=False)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
DOCKER, PROCESSES = "Only with --docker", "Only without --docker"  # panels of the help

AsDocker = Annotated[bool, typer.Option("--docker", help="As containers: the services of docker-compose.yml.")]
OnCpu = Annotated[
    bool,
    typer.Option("--cpu", help="On the CPU, with the stand-in model: no GPU, no token.", rich_help_panel=DOCKER),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.callback()
def main() -> None:
    """The arena on this machine: four real vLLM engines, two LMCache servers and the page."""


@app.command()
def up(
    context: typer.Context,
    docker: AsDocker = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is healthy.")] = False,
    model: Annotated[str, typer.Option(help="A name of ./arena models, a folder, or a hub's owner/name.")] = "",
    show_commands: Annotated[
        bool, typer.Option("--print", help="Show each server's command line, and start nothing.")
    ] = False,
    cpu: OnCpu = False,
    profile: Annotated[
        list[str] | None, typer.Option(help=f"Also start {' or '.join(PROFILES)}.", rich_help_panel=DOCKER)
    ] = None,
    no_ui: Annotated[
        bool, typer.Option("--no-ui", help="Engines and cache servers only.", rich_help_panel=PROCESSES)
    ] = False,
    kv_store_dir: Annotated[
        str, typer.Option(help="The KV volume that both lmcache engines share.", rich_help_panel=PROCESSES)
    ] = "",
    port: Annotated[
        int | None, typer.Option(help="The page's port.", min=1, max=65535, rich_help_panel=PROCESSES)
    ] = None,
    engines: Annotated[
        int | None,
        typer.Option(help="4, or 2 on a small machine: the lmcache pair alone.", rich_help_panel=PROCESSES),
    ] = None,
) -> None:
    """Start the stack; Ctrl+C stops it (or, with --detach, ./arena down).

    Options override .env, which overrides the defaults.
    """
    _refuse_options(PROCESSES if docker else DOCKER, context)
    if unknown := sorted(set(profile or ()) - set(PROFILES)):
        raise ConfigError(f"--profile {unknown[0]}: choose {' or '.join(PROFILES)}")
    composition = Composition.of(cpu=cpu, profiles=profile or (), model=model) if docker else None
    if composition is None:
        given = {
            "MODEL": model,
            "KV_STORE_DIR": kv_store_dir and str(Path(kv_store_dir).expanduser().absolute()),
            "UI_PORT": str(port or ""),
            "ENGINES": str(engines or ""),
        }
        os.environ.update({key: value for key, value in given.items() if value})
    if show_commands:
        _print_commands(container_settings(composition) if composition else _checked_settings())
        return
    _start(composition, detach=detach, page=not no_ui)


def _refuse_options(panel: str, context: typer.Context) -> None:
    """Raises ConfigError if an option of this panel was given."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source and source.name == "COMMANDLINE" and getattr(option, "rich_help_panel", None) == panel:
            raise ConfigError(f"{option.opts[0]} works {panel.lower()}")


def _checked_settings() -> Settings:
    settings = caller_settings()
    checked_model(settings.model, arena_home(os.environ) / "models")
    return settings


def _print_commands(settings: Settings) -> None:
    for name, command in all_commands(settings):
        print(f"# {name}\n{command}")


def _start(composition: Composition | None, *, detach: bool, page: bool) -> None:
    interrupt_once()
    home = arena_home(os.environ)
    stack: Stack | None = None
    try:
        if composition is None:
            _refuse_beside_containers(home)
        with start_lock(home):
            prepared = Containers.prepare(home, composition) if composition else LocalStack.prepare(home, page=page)
            stack = prepared
            ready = stack.start()
        if not detach:
            say(ready)
            _stay(stack)
    except BaseException as exc:  # including an OSError from printing to a closed terminal
        interrupted = isinstance(exc, KeyboardInterrupt)
        if stack:
            stack.abandon(interrupted=interrupted)
        if interrupted:
            say("interrupted; nothing of the stack is left running")
        raise
    if detach:
        say(ready)


def _refuse_beside_containers(home: Path) -> None:
    """Refuses to start processes while the containers run, since both need the same memory and port.

    If Docker does not respond, this assumes that no containers run.
    """
    try:
        containers = Containers.running(home)
    except StackError:
        return
    if containers:
        raise StackError("the stack runs as containers: ./arena status shows it, ./arena down ends it")


def _stay(stack: Stack) -> None:
    """Waits until another command stops the stack, or until Ctrl+C, SIGTERM or SIGHUP, and then stops it."""
    say("Ctrl+C stops it")
    try:
        stack.watch()
        say("the stack was stopped by another command")
    except KeyboardInterrupt:
        try:
            say("stopping")
        finally:
            stack.stop()
        say("stopped")


def _running_stack() -> Stack:
    """Returns the containers if there are any, otherwise the processes, even if they are stopped."""
    home = arena_home(os.environ)
    return Containers.running(home) or LocalStack(home, caller_settings())


@app.command()
def down(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Delete Docker's volumes, too; folders of this machine stay.")
    ] = False,
) -> None:
    """Stop everything that `up` started. Stored data is kept, unless --volumes is given."""
    say(_running_stack().stop(volumes=volumes))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show each service, its URL, and whether it is healthy. The exit code is 1 if any service is not."""
    stack = _running_stack()
    services, volume = stack.services(), stack.kv_store()
    use = VolumeUse.read(Path(volume)) if Path(volume).is_absolute() else None  # Docker's volume has only a name
    if as_json:
        report = {"services": [asdict(s) for s in services], "kv_store_dir": volume}
        print(json.dumps(report | {"kv_volume": use and use.model_dump()}, indent=1))
    else:
        table = Table("service", "kind", "url", "healthy", "pid", "state", box=None)
        for s in services:
            table.add_row(s.name, s.kind, s.url, "yes" if s.healthy else "no", str(s.pid or ""), s.state.lower())
        Console(soft_wrap=True).print(table)
        print(f"KV volume {volume}" + (f": {describe_use(use, time.time())}" if Path(volume).is_absolute() else ""))
    raise typer.Exit(0 if all(service.healthy for service in services) else 1)


@app.command()
def restart(
    names: Annotated[list[str], typer.Argument(help="Services' names, in the order of their restart.")],
) -> None:
    """Restart services; `status` shows when they are healthy again."""
    _running_stack().restart(names)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A service's name, or without --docker 'supervisor'.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written.")] = False,
) -> None:
    """Show a service's log."""
    _running_stack().show_log(name, follow=follow)


@app.command()
def doctor(context: typer.Context, docker: AsDocker = False, cpu: OnCpu = False, as_json: AsJson = False) -> None:
    """Show what this machine lacks, and what to do about it. The exit code is 1 if the stack could not start."""
    if docker:
        results = tuple(check_containers(Composition.of(cpu=cpu).environment(), cpu=cpu))
    else:
        _refuse_options(DOCKER, context)
        stack = LocalStack(arena_home(os.environ), caller_settings())
        results = tuple(check_processes(stack.settings, running=stack.supervisor.is_running()))
    if as_json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    else:
        for result in results:
            show(result)
    raise typer.Exit(1 if failed_checks(results) else 0)


@app.command(context_settings=PASSED_ON, add_help_option=False)
@app.command("cache", context_settings=PASSED_ON, add_help_option=False)
@app.command("chat", context_settings=PASSED_ON, add_help_option=False)
@app.command("bench", context_settings=PASSED_ON, add_help_option=False)
def ask(context: typer.Context) -> None:
    """Pass the command on to its package, in a container if containers run."""
    # sys.argv, because Typer would drop `--`
    run_client_command(arena_home(os.environ), str(context.info_name), sys.argv[2:])


if __name__ == "__main__":
    run_app(app)
