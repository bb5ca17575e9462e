"""`python -m cache serve NAME` becomes a cache server; `python -m cache preheat` readies a stack that has started."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer

from cache import preheat as heat
from cache.key import check_not_exposed
from cache.lmcache_command import lmcache_command
from cache.versions import serving_versions
from cache.volume import namespace_path, prepare_namespace
from config.exit_codes import run_app
from config.settings import load_settings
from config.topology import Topology

app = typer.Typer(help="LMCache's servers, one for each lmcache engine.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """LMCache's servers, one for each lmcache engine."""


@app.command()
def serve(
    name: Annotated[str, typer.Argument(help="cache-a or cache-b")],
    show: Annotated[bool, typer.Option("--print", help="Show the command without running it.")] = False,
) -> None:
    """Become the cache server NAME."""
    settings, _ = load_settings(os.environ)
    cache, versions = Topology.of(settings).cache(name), serving_versions()
    command = lmcache_command(cache, settings, namespace_path(settings, versions))
    print(command, flush=True)
    if show:
        return
    prepare_namespace(settings, versions)
    if check_not_exposed(settings.kv_key_file):
        print(f"KV_KEY_FILE={settings.kv_key_file} may be read by others: chmod 600 it", file=sys.stderr, flush=True)
    command.exec()


@app.command()
def preheat() -> None:
    """Ask every engine once, and let each lmcache engine load once, so that nobody's first question pays for it."""
    settings, _ = load_settings(os.environ)
    asyncio.run(heat.preheat(Topology.of(settings), _say))


def _say(what: str, seconds: float) -> None:
    print(f"{what} after {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_app(app)
