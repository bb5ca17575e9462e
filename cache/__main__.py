"""`python -m cache serve NAME` runs a cache server; `python -m cache preheat` warms up a stack that has started."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer

from cache.key import is_readable_by_others
from cache.lmcache_command import lmcache_command
from cache.preheat import preheat as preheat_stack
from cache.versions import serving_versions
from cache.volume import namespace_path, prepare_namespace
from config.exit_codes import run_app
from config.settings import load_settings
from config.topology import Topology
from engines.vllm_command import vllm_command

app = typer.Typer(help="LMCache's servers, one for each lmcache engine.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """LMCache's servers, one for each lmcache engine."""


@app.command()
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


@app.command()
def preheat() -> None:
    """Send every engine a request, and make each lmcache engine load once, so that first questions are not slower."""
    settings, _ = load_settings(os.environ)
    asyncio.run(preheat_stack(Topology.of(settings), _print_step))


def _print_step(what: str, seconds: float) -> None:
    print(f"{what} after {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_app(app)
