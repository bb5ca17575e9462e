"""`python -m cache serve NAME`: becomes a cache server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cache.command import serve_cache
from cache.volume import prepare
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
    command = serve_cache(Topology.of(settings).cache(name), settings)
    print(command, flush=True)
    if not show:
        prepare(settings)
        command.exec()


if __name__ == "__main__":
    run(app)
