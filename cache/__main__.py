"""`python -m cache serve NAME` becomes a cache server; `python -m cache preheat` readies a stack that has started."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer

from cache import preheat as heat
from cache.command import serve_cache
from cache.key import exposed
from cache.versions import serving
from cache.volume import place, prepare
from engines.door import run
from engines.settings import read_env
from engines.topology import Topology

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
    settings, _ = read_env(os.environ)
    cache, versions = Topology.of(settings).cache(name), serving()
    command = serve_cache(cache, settings, place(settings, versions))
    print(command, flush=True)
    if show:
        return
    prepare(settings, versions)
    if exposed(settings.kv_key_file):
        print(f"KV_KEY_FILE={settings.kv_key_file} may be read by others: chmod 600 it", file=sys.stderr, flush=True)
    command.exec()


@app.command()
def preheat() -> None:
    """Ask every engine once, and let each lmcache engine load once, so that nobody's first question pays for it."""
    settings, _ = read_env(os.environ)
    asyncio.run(heat.preheat(Topology.of(settings), _say))


def _say(what: str, seconds: float) -> None:
    print(f"{what} after {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(app)
