"""`python -m engines`: `serve NAME` becomes an engine, `ask NAME "…"` asks one, `fetch` readies the model."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engines import model
from engines.client import ask as measured
from engines.command import serve_engine
from engines.document import fit, read_document
from engines.door import run, settings_of_the_caller
from engines.prompt import Prompt
from engines.recipe import Recipe, find, recipes
from engines.reply import Delta, Reply
from engines.settings import read_env
from engines.topology import Engine, Topology

WIDE = 185  # columns of the widest table: a narrower terminal wraps its lines
app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """vLLM engines: become one, ask one, or fetch their model."""


@app.command()
def serve(
    name: Annotated[str, typer.Argument(help="plain-a, plain-b, lmcache-a or lmcache-b")],
    show: Annotated[bool, typer.Option("--print", help="Show the command without running it.")] = False,
) -> None:
    """Become the engine NAME."""
    settings, _ = read_env(os.environ)
    command = serve_engine(Topology.of(settings).engine(name), settings)
    print(command, flush=True)
    if not show:
        command.exec()


@app.command()
def fetch(
    token_file: Annotated[Path | None, typer.Option(help="Holds the token for a gated model.")] = None,
) -> None:
    """Make the model ready before engines start: checked, prepared, or downloaded from the hub, once."""
    settings, _ = read_env(os.environ)
    hub_cache = settings.local_hf_home / "hub"
    print(model.fetch(settings.model, hub_cache, token_file, _tell, settings.revision))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """The models that have a recipe (engines/models); * is chosen now. KV is in the checkpoint's own dtype.

    Choose one with ./arena up --model NAME, or MODEL=NAME in .env. Any other model is a folder, or a hub's owner/name.
    """
    chosen = find(settings_of_the_caller().model)
    if as_json:
        print(
            json.dumps({"models": [described(recipe) | {"chosen": recipe == chosen} for recipe in recipes()]}, indent=1)
        )
        return
    table = Table("", "name", "takes", "context", "KV a token", "KV of 1,000", "licence", "source", box=None)
    for recipe in recipes():
        table.add_row("*" if recipe == chosen else "", *_row(recipe))
    Console(width=max(Console().width, WIDE)).print(table)


def described(recipe: Recipe) -> dict[str, object]:
    """Its fields, with the sizes that follow from them, in tokens and bytes."""
    size = recipe.kv.bytes_per_token
    follows = {
        "served_context": recipe.served_context,
        "kv_bytes_per_token": size,
        "kv_bytes_per_1000_tokens": 1000 * size,
    }
    return recipe.model_dump(mode="json") | follows


def _row(recipe: Recipe) -> tuple[str, ...]:
    takes = ", ".join(("text", *recipe.modalities)) + (" (stand-in)" if recipe.stand_in else "")
    size = recipe.kv.bytes_per_token
    kv = (f"{size / 2**10:,.1f} KiB", f"{1000 * size / 2**20:,.0f} MiB")
    return (recipe.name, takes, f"{recipe.served_context:,}", *kv, recipe.licence, recipe.source)


@app.command()
def ask(
    engine: Annotated[str, typer.Argument(help="plain-a, plain-b, lmcache-a or lmcache-b")],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    context: Annotated[Path | None, typer.Option("--context", help="A text file that the question is about.")] = None,
    nonce: Annotated[
        str,
        typer.Option("--nonce", help="Opens the prompt: a new one makes it cold, the same one lets engines share it."),
    ] = "",
    cut: Annotated[bool, typer.Option("--cut", help="Shorten the document when it is too long for the model.")] = False,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1)] = 128,
    temperature: Annotated[float, typer.Option("--temperature", min=0, max=2)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the stream.")] = False,
) -> None:
    """Ask one engine: the answer as it comes, then what it cost.

    TTFT counts from just before the request is sent to the first chunk with text (docs/metrics.md). Ask lmcache-a with
    a --context of some thousand tokens, then lmcache-b with the same: the second reads what the first stored.
    """
    chosen = Topology.of(settings_of_the_caller()).engine(engine)
    document = read_document(context) if context else ""
    prompt = Prompt(question, document, nonce, max_tokens, temperature)
    reply = asyncio.run(_ask(chosen, prompt, cut=cut, show=not as_json))
    if as_json:
        print(json.dumps(reply.to_json(), indent=1))
    else:
        print(f"\n\n{summary(reply)}")


def summary(reply: Reply) -> str:
    """One line: TTFT, ITL, prompt and cached tokens, and where these came from."""
    itl = f"ITL {reply.mean_itl * 1e3:.0f} ms, " if reply.mean_itl else ""
    usage = reply.usage
    cached = f"{usage.cached_tokens:,} of {usage.prompt_tokens:,} prompt tokens cached ({reply.source})"
    return f"{reply.engine}: TTFT {reply.ttft * 1e3:,.0f} ms, {itl}{cached}"


async def _ask(engine: Engine, prompt: Prompt, *, cut: bool, show: bool) -> Reply:
    fitted = await fit(engine, prompt, cut=cut)
    if fitted.document != prompt.document:
        print(
            f"arena: the document was cut to {len(fitted.document):,} of {len(prompt.document):,} characters",
            file=sys.stderr,
        )
    async for event in measured(engine, fitted):
        if isinstance(event, Reply):
            return event
        if show:
            _show(event)
    raise AssertionError("the stream ends with a Reply or an error")


def _show(delta: Delta) -> None:
    print(delta.text, end="", flush=True)


if __name__ == "__main__":
    run(app)
