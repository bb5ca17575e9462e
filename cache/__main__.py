"""`python -m cache`: `serve NAME` runs a cache server, `preheat` warms up a stack that has started, and `keep` limits
what is on the KV volume; the other commands show and change that."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cache.keeper import Keeper, keep_for_ever
from cache.key import is_readable_by_others
from cache.lmcache_command import lmcache_command
from cache.preheat import preheat as preheat_stack
from cache.versions import serving_versions
from cache.volume import check_writable, namespace_path, prepare_namespace
from cache.volume_files import DeletedFiles, delete, files_of, namespaces
from client.volume_use import GIB
from config.errors import ConfigError, StackError
from config.exit_codes import run_app
from config.paths import arena_home
from config.printable import printable
from config.settings import Settings, load_settings
from config.topology import Topology
from engines.vllm_command import Command, vllm_command

QUIET = {"LMCACHE_LOG_LEVEL": "WARNING"}
app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """The KV volume: what is stored on it, and how to make room."""


@app.command(hidden=True)  # for the stack, not for its users
def serve(
    name: Annotated[str, typer.Argument(help="cache-a or cache-b; an lmcache engine if KV_CONNECTOR needs no server")],
    show: Annotated[bool, typer.Option("--print", help="Show the command without running it.")] = False,
) -> None:
    """Run the cache server NAME, or the engine NAME that itself stores its KV on the volume."""
    settings, _ = load_settings(os.environ)
    topology, versions = Topology.of(settings), serving_versions()
    folder = namespace_path(settings, versions)
    if settings.in_process:
        command = vllm_command(topology.engine(name), settings, folder)
    else:
        command = lmcache_command(topology.cache(name), settings, folder)
    print(command, flush=True)
    if show:
        return
    prepare_namespace(settings, versions)
    if is_readable_by_others(settings.kv_key_file):
        print(f"KV_KEY_FILE={settings.kv_key_file} may be read by others: chmod 600 it", file=sys.stderr, flush=True)
    command.exec()


@app.command(hidden=True)  # for the stack, not for its users
def preheat() -> None:
    """Send every engine a request, and make each lmcache engine load once, so that first questions are not slower."""
    settings, _ = load_settings(os.environ)
    asyncio.run(preheat_stack(Topology.of(settings), lambda what, seconds: _say(f"{what} after {seconds:.0f} s")))


@app.command(hidden=True)  # for the stack, not for its users
def keep() -> None:
    """Keep the volume within KV_MAX_GB, until the process is ended."""
    settings = _settings()
    check_writable(settings.kv_store_dir)
    keeper = _keeper(settings, settings.kv_max_gb)
    limits = keeper.limits
    _say(
        f"{settings.kv_store_dir}: at most {limits.max_bytes / GIB:.1f} GiB are stored; "
        f"{limits.min_free_bytes / GIB:.1f} GiB stay free on its disk"
    )
    keep_for_ever(keeper, _say)


@app.command("ls")
def list_namespaces() -> None:
    """Show each namespace: its size, its number of files, and when one of them was last stored or loaded."""
    settings, total = _settings(), 0
    table = Table("namespace", "GiB", "files", "last used", box=None)
    for folder in namespaces(settings.kv_store_dir):
        files = [file for file in files_of(folder) if file.is_finished]
        size = sum(file.size for file in files)
        used = max((file.used_s for file in files), default=0)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used)) if files else ""
        total += size
        table.add_row(printable(folder.name), f"{size / GIB:.2f}", f"{len(files):,}", when)
    Console(soft_wrap=True, markup=False).print(table)
    print(f"{settings.kv_store_dir}: {total / GIB:.2f} GiB")


@app.command()
def trim(
    max_gb: Annotated[
        float | None,
        typer.Option(help="Delete if all namespaces have more GiB; 5 % less is left. Default: KV_MAX_GB", min=0.001),
    ] = None,
) -> None:
    """Delete what was not used for longest, as the stack does all the time. Engines may run."""
    settings = _settings()
    limit = settings.kv_max_gb if max_gb is None else max_gb
    if not math.isfinite(limit):
        raise ConfigError(f"--max-gb {limit}: give a number of GiB")
    _print_deleted(_keeper(settings, limit).trim())


@app.command()
def rm(name: Annotated[str, typer.Argument(help="A namespace, as ./arena cache ls shows it.")]) -> None:
    """Delete all that is stored in a namespace. Its folder stays, and engines may run: they compute again."""
    settings = _settings()
    found = {folder.name: folder for folder in namespaces(settings.kv_store_dir)}
    if name not in found:
        raise ConfigError(f"no namespace '{name}'; there are: {', '.join(found) or 'none'}")
    _print_deleted(delete(settings.kv_store_dir, files_of(found[name])))


@app.command()
def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Delete damaged files; engines compute them again.")] = False,
) -> None:
    """Decrypt every file, and name those that are damaged. The exit code is 1 if any of them is left."""
    settings = _settings()
    python = arena_home(os.environ) / "env" / "engines" / "bin" / "python"  # where LMCache is; in containers it is here
    if not python.exists() and find_spec("lmcache") is None:
        raise ConfigError("the engines' environment, which this needs, is not there: ./arena install makes it")
    words = ("-m", "cache.verify_files", str(settings.kv_store_dir), str(settings.kv_key_file))
    interpreter = str(python) if python.exists() else sys.executable
    Command((interpreter, *words, *(["--repair"] if repair else [])), QUIET).exec()


def _settings() -> Settings:
    return load_settings(os.environ)[0]


def _keeper(settings: Settings, max_gb: float) -> Keeper:
    try:
        return Keeper(settings.kv_store_dir, max_gb)
    except OSError as exc:
        raise ConfigError(f"KV_STORE_DIR: {settings.kv_store_dir} cannot be read ({exc.strerror})") from exc


def _print_deleted(deleted: DeletedFiles) -> None:
    if deleted.fault:
        raise StackError(f"{deleted.fault}; {deleted.files:,} other files were deleted")
    print(f"deleted {deleted.files:,} files of {deleted.total_bytes / GIB:.2f} GiB")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_app(app)
