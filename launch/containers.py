"""`./arena up --docker`, and the other commands for a stack of containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from cache.lmcache_command import all_commands
from config.errors import ConfigError, StackError
from config.exit_codes import caller_settings, run_app
from config.paths import ROOT, arena_home
from config.recipe import unknown_model_error
from config.run_state import supervisord_pid
from config.settings import Settings
from launch import container_paths, option_values
from launch.check_result import CheckResult, failed_checks
from launch.compose import (
    PROFILES,
    Composition,
    chown_folder,
    compose_environment,
    recorded_composition,
    remove_record,
    run_output,
    write_token_file,
)
from launch.compose_doctor import check_compose
from launch.container_status import ContainerStatus, list_containers
from launch.docker_engine import containers_exist
from launch.host_folders import compose_path
from launch.signals import interrupt_once, uninterrupted

app = typer.Typer(no_args_is_help=True, add_completion=False)
console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
say = console.print
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
DEADLINE_S = 1800  # for everything to be healthy, once the model is there
MOUNTED = {
    "KV_STORE_DIR": "./.arena/kv",
    "KV_KEY_DIR": "./.arena/key",
    "LOCAL_HF_HOME": "~/.cache/huggingface",
}  # folders of the host, as docker-compose.yml has them
INSIDE = {"ENGINE_URL": "http://{name}:{port}", "CACHE_URL": "http://{name}:{port}"}


@app.callback()
def main() -> None:
    """The arena as containers: the services of docker-compose.yml."""


@app.command()
def up(
    cpu: Annotated[bool, typer.Option("--cpu", help="On the CPU, with the embedded model: no GPU, no token.")] = False,
    profile: Annotated[list[str] | None, typer.Option(help=f"Also start {' or '.join(PROFILES)}.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is healthy.")] = False,
    model: Annotated[str, typer.Option("--model", help="A name of ./arena models, or a hub's owner/name.")] = "",
    show: Annotated[bool, typer.Option("--print", help="Show each server's command line, and start nothing.")] = False,
) -> None:
    """With --docker: build and start the containers. Ctrl+C stops them (or, with --detach, ./arena down)."""
    unknown = sorted(set(profile or ()) - set(PROFILES))
    if unknown:
        raise ConfigError(f"--profile {unknown[0]}: choose {' or '.join(PROFILES)}")
    home, chosen = arena_home(os.environ), Composition(cpu, tuple(profile or ()), model)
    if show:
        _print_commands(chosen)
        return
    if supervisord_pid(home):
        raise StackError("the stack runs already, without containers: ./arena status shows it, ./arena down ends it")
    interrupt_once()
    env = _environment(chosen)
    _make_folders(env, cpu=cpu)
    _examine(env, cpu=cpu)
    began = time.monotonic()
    try:
        write_token_file(env, caller_settings().hf_token.get_secret_value())
        env = _environment(chosen)
        _start(chosen, env, home)
        took = time.monotonic() - began
        ready = f"everything is up after {took:.0f} s\nready: http://127.0.0.1:{_settings(env).ui_port}"
        if not detach:
            say(ready)
            _stay(chosen, env, home)
    except KeyboardInterrupt:
        _stop(chosen, env, home)
        say("interrupted; the containers are stopped")
        raise
    except BaseException:
        _forget_unless_there(env, home)
        raise
    if detach:
        say(ready)


def _forget_unless_there(env: Mapping[str, str], home: Path) -> None:
    """A start that failed leaves neither a token nor a record, except where containers are there."""
    with suppress(StackError):
        if not containers_exist(env):
            remove_record(home)


def _make_folders(env: Mapping[str, str], *, cpu: bool) -> None:
    chown_folder(compose_path(env, "RESULTS_DIR", "./results"), env, filled=True)
    if not cpu:
        for name, default in MOUNTED.items():
            chown_folder(compose_path(env, name, default) / ("hub" if name == "LOCAL_HF_HOME" else ""), env)


def _environment(chosen: Composition) -> dict[str, str]:
    """What Compose interpolates; a model that was named goes before `.env`."""
    named = {"MODEL": chosen.model} if chosen.model else {}
    return compose_environment({**os.environ, **named}, cpu=chosen.cpu)


def _print_commands(chosen: Composition) -> None:
    """As the containers would run them: from the environment that Compose gives to the page, which shows them too."""
    config = json.loads(run_output(chosen.command("config", "--format", "json"), _environment(chosen)))
    settings = Settings.from_env(config["services"]["page"]["environment"])
    if "/" not in settings.model:
        raise unknown_model_error(settings.model)
    for name, command in all_commands(settings):
        print(f"# {name}\n{command}")


@app.command()
def down(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Delete Docker's volumes, too; folders of this machine stay.")
    ] = False,
) -> None:
    """Stop and remove the containers. What they stored stays, unless --volumes."""
    chosen, env = _what_runs("launch")
    with uninterrupted():
        _stop(chosen, env, arena_home(os.environ), *(["--volumes"] if volumes else []))
    say("stopped")


@app.command("exist", hidden=True)
def exist_() -> None:
    """Exit code 0 where Docker has containers of ours; the record of those that are gone is removed."""
    found = containers_exist(_environment(recorded_composition(arena_home(os.environ))))
    if not found:
        remove_record(arena_home(os.environ))
    raise typer.Exit(0 if found else 1)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What runs, where, and whether it is healthy. Exit code 1 when something is not."""
    chosen, env = _what_runs("launch")
    services = _services(chosen, env)
    if as_json:
        volume = _volume(chosen, env)
        print(json.dumps({"services": [s.to_json() for s in services], "kv_store_dir": volume}, indent=1))
    else:
        table = Table("service", "kind", "url", "healthy", "pid", "state", box=None)
        for s in services:
            table.add_row(s.name, s.kind, s.url, "yes" if s.healthy else "no", str(s.pid or ""), s.state)
        Console(soft_wrap=True).print(table)
    raise typer.Exit(0 if all(service.healthy for service in services) else 1)


@app.command()
def restart(
    names: Annotated[list[str], typer.Argument(help="Services' names.")],
) -> None:
    """Restart services; `status` says when they are healthy again."""
    _become(*_what_runs("launch"), "restart", *names)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A service's name.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written.")] = False,
) -> None:
    """What a service wrote."""
    some = ["--tail", "50", "--follow"] if follow else []
    _become(*_what_runs("launch"), "logs", "--no-log-prefix", *some, name)


@app.command()
def doctor(
    cpu: Annotated[bool, typer.Option("--cpu", help="For containers without a GPU.")] = False,
) -> None:
    """With --docker: what this machine lacks for containers. Exit code 1 when they could not start."""
    findings = tuple(check_compose(compose_environment(os.environ, cpu=cpu), cpu=cpu))
    for finding in findings:
        _show(finding)
    raise typer.Exit(1 if failed_checks(findings) else 0)


@app.command(context_settings=PASSED_ON, add_help_option=False)
def ask(context: typer.Context) -> None:
    """`./arena ask`, from a container beside the engines."""
    from engines.__main__ import app as engines  # its SDK takes a second to import

    chosen, env = _what_runs("engines")
    _, values = option_values.parse_options(engines, "./arena", ["ask", *context.args])
    container_paths.check_paths(values, Path.cwd())
    _client(chosen, env, "engines", "./arena", ["ask", *context.args])


@app.command(context_settings=PASSED_ON, add_help_option=False)
def chat(context: typer.Context) -> None:
    """`./arena chat`, from a container beside the engines. What needs no engine of ours runs here."""
    from engines.__main__ import app as engines

    _, values = option_values.parse_options(engines, "./arena", ["chat", *context.args])
    if values["base_url"]:
        _here("engines")
    chosen, env = _what_runs("engines")
    container_paths.check_paths(values, Path.cwd(), caller_settings().media_domains)
    _client(chosen, env, "engines", "./arena", ["chat", *context.args])


@app.command(context_settings=PASSED_ON, add_help_option=False)
def bench(context: typer.Context) -> None:
    """`./arena bench`, from a container beside the engines. What needs no engine of ours runs here."""
    from bench.__main__ import app as benchmarks  # what it draws with takes a second to import

    name, values = option_values.parse_options(benchmarks, "./arena bench", context.args)
    if name in ("report", "compare") or values.get("base_url"):
        _here("bench")
    chosen, env = _what_runs("bench")
    if name == "peer":
        raise ConfigError("bench peer starts `vllm bench serve` beside it: it needs the embedded stack (./arena up)")
    container_paths.check_paths(values, Path.cwd())
    _client(chosen, env, "bench", "./arena bench", context.args)


def _here(module: str) -> NoReturn:
    """The same command without containers."""
    prog, given = ("./arena bench", sys.argv[2:]) if module == "bench" else ("./arena", sys.argv[1:])
    os.execve(sys.executable, [sys.executable, "-m", module, *given], {**os.environ, "ARENA_PROG": prog})  # noqa: S606


def _client(chosen: Composition, env: dict[str, str], module: str, prog: str, arguments: Sequence[str]) -> NoReturn:
    """The folder that the caller stands in is there under its own name, and what is written belongs to the caller."""
    here = str(Path.cwd())
    if here in ("/", "/tmp", "/app") or ":" in here:  # noqa: S108
        raise ConfigError(f"{here} cannot be shown to a container: go to another folder")
    run = ["run", "--rm", "--no-deps", "--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{here}:{here}"]
    run += ["--workdir", here, "--env", f"ARENA_PROG={prog}", "--env", f"RESULTS_DIR={here}/results", *_tty()]
    # -P: what lies in the caller's folder is no module of ours
    run += ["--entrypoint", f"python -P -m {module}", "bench", *arguments]
    _become(replace(chosen, profiles=(*chosen.profiles, "bench")), env, *run)


def _tty() -> tuple[str, ...]:
    return () if sys.stdin.isatty() else ("--no-TTY",)


def _become(chosen: Composition, env: dict[str, str], *arguments: str) -> NoReturn:
    command = chosen.command(*arguments)
    os.chdir(ROOT)
    os.execvpe(command[0], command, env)  # noqa: S606


def _what_runs(otherwise: str) -> tuple[Composition, dict[str, str]]:
    """The containers that are there; where there are none, the program becomes the module `otherwise`."""
    home = arena_home(os.environ)
    if supervisord_pid(home):
        _here(otherwise)
    chosen = recorded_composition(home)
    env = _environment(chosen)
    if not containers_exist(env):
        remove_record(home)
        _here(otherwise)
    return chosen, env


def _examine(env: dict[str, str], *, cpu: bool) -> None:
    findings = tuple(check_compose(env, cpu=cpu))
    for finding in findings:
        if finding.verdict != "ok":
            _show(finding)
    if failed_checks(findings):
        raise StackError("the containers cannot start yet; ./arena doctor --docker shows everything")


def _show(finding: CheckResult) -> None:
    say(f"{finding.verdict:4} {finding.subject}: {finding.fact}")
    if finding.advice:
        say(f"       {finding.advice}")


def _start(chosen: Composition, env: dict[str, str], home: Path) -> None:
    """Compose shows its own progress. From when there are containers, other commands are about them."""
    say("building the images (minutes, the first time) and starting the containers")
    if subprocess.run(chosen.command("build", "--quiet"), env=env, cwd=ROOT).returncode:
        raise StackError("the images could not be built: the last lines above say why")
    # first alone: its download has no deadline, and what it says of a model that cannot be had is the last thing said
    if subprocess.run(chosen.command("run", "--rm", *_tty(), "model"), env=env, cwd=ROOT).returncode:
        raise StackError("the model could not be made ready: the last lines above say why")
    chosen.remember(home)
    wait = ("--wait", "--wait-timeout", str(DEADLINE_S))  # a server that ends and is started again is not healthy ever
    if subprocess.run(chosen.command("up", "--detach", *wait), env=env, cwd=ROOT).returncode:
        for name, words in _failed(chosen, env):
            say(f"{name}: {words}; ./arena logs {name} says more")
        raise StackError("not everything is healthy; ./arena status shows what is, ./arena down ends it")


def _failed(chosen: Composition, env: dict[str, str]) -> list[tuple[str, str]]:
    rows = [
        json.loads(line) for line in run_output(chosen.command("ps", "--all", "--format", "json"), env).splitlines()
    ]
    bad = [row["Service"] for row in rows if row["ExitCode"] or row["Health"] == "unhealthy"]
    return [(name, _last_line(run_output(chosen.command("logs", "--no-log-prefix", name), env))) for name in bad]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it wrote nothing"])[-1]


def _stay(chosen: Composition, env: dict[str, str], home: Path) -> None:
    say("Ctrl+C stops it")
    try:
        while run_output(chosen.command("ps", "--all", "--quiet"), env):
            time.sleep(5)
        say("the containers were removed from elsewhere")
    except KeyboardInterrupt:
        try:
            say("stopping")
        finally:
            _stop(chosen, env, home)
        say("stopped")


def _stop(chosen: Composition, env: dict[str, str], home: Path, *more: str) -> None:
    everything = Composition(chosen.cpu, (*PROFILES, "bench"))
    run_output(
        everything.command("down", "--remove-orphans", *more), env, partial(subprocess.run, start_new_session=True)
    )
    remove_record(home)


def _services(chosen: Composition, env: dict[str, str]) -> tuple[ContainerStatus, ...]:
    listed = run_output(chosen.command("ps", "--all", "--no-trunc", "--format", "json"), env)
    ids = [json.loads(line)["ID"] for line in listed.splitlines()]
    pids = run_output(["docker", "inspect", "--format", "{{.Id}} {{.State.Pid}}", *ids], env) if ids else ""
    return list_containers(
        listed, {words[0]: int(words[1]) for words in map(str.split, pids.splitlines())}, _settings(env)
    )


def _volume(chosen: Composition, env: dict[str, str]) -> str:
    """Where the KV volume lies: a folder here, or the name of a Docker volume."""
    config = json.loads(run_output(chosen.command("config", "--format", "json"), env))
    mounts = {mount["target"]: mount["source"] for mount in config["services"]["cache-a"]["volumes"]}
    return str(mounts["/kv"])


def _settings(env: Mapping[str, str]) -> Settings:
    """Of what runs in the containers; the page's port is the host's."""
    return Settings.from_env({**INSIDE, "UI_PORT": env.get("UI_PORT", "")})


if __name__ == "__main__":
    run_app(app)
