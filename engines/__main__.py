"""`python -m engines`: `serve NAME` runs an engine, `ask` and `chat` send requests, `fetch` prepares the model."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from client.ask import ask as ask_engine
from client.documents import read_document
from client.external_server import external_engine, parse_extra_body
from client.measurement_lock import MeasurementLock
from client.prompt import Prompt
from client.reply import Delta, Reply
from client.tokenizer import fit_to_context
from client.volume_use import DISK_FULL, VolumeUse
from config.errors import ConfigError
from config.exit_codes import caller_settings, run_app
from config.printable import printable
from config.recipe import Recipe, all_recipes, find_recipe
from config.settings import load_settings
from config.topology import Engine, Topology
from engines import chat as chats
from engines import prepare_model
from engines.vllm_command import vllm_command
from media import Form, Media, Modality
from media.limits import Limits

TABLE_WIDTH = 185  # characters: width of the table of models; a narrower terminal wraps its lines
app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """vLLM engines: run one, ask one, or fetch their model."""


@app.command()
def serve(
    name: Annotated[str, typer.Argument(help="plain-a, plain-b, lmcache-a or lmcache-b")],
    show: Annotated[bool, typer.Option("--print", help="Show the command without running it.")] = False,
) -> None:
    """Run the engine NAME."""
    settings, _ = load_settings(os.environ)
    command = vllm_command(Topology.of(settings).engine(name), settings)
    print(command, flush=True)
    if not show:
        command.exec()


@app.command()
def fetch(
    token_file: Annotated[Path | None, typer.Option(help="Holds the token for a gated model.")] = None,
) -> None:
    """Prepare the model before engines start: check a folder, generate a stand-in, or download from the hub."""
    settings, _ = load_settings(os.environ)
    hub_cache = settings.local_hf_home / "hub"
    print(prepare_model.fetch_from_hub(settings.model, hub_cache, token_file, _print_error, settings.revision))


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List the models that have a recipe (engines/models); * marks the chosen one.

    KV sizes are for the checkpoint's own dtype. Choose a model with ./arena up --model NAME, or MODEL=NAME in .env. For
    any other model, give a folder or the hub's owner/name.
    """
    chosen = find_recipe(caller_settings().model)
    if as_json:
        found = [recipe_json(recipe) | {"chosen": recipe == chosen} for recipe in all_recipes()]
        print(json.dumps({"models": found}, indent=1))
        return
    table = Table("", "name", "takes", "context", "KV a token", "KV of 1,000", "licence", "source", box=None)
    for recipe in all_recipes():
        table.add_row("*" if recipe == chosen else "", *_row(recipe))
    Console(width=max(Console().width, TABLE_WIDTH)).print(table)


def recipe_json(recipe: Recipe) -> dict[str, object]:
    """Returns the recipe's fields and the sizes derived from them, in tokens and bytes."""
    size = recipe.kv.bytes_per_token
    sizes = {"kv_bytes_per_token": size, "kv_bytes_per_1000_tokens": 1000 * size}
    return recipe.model_dump(mode="json") | {"served_context": recipe.served_context, **sizes}


def _row(recipe: Recipe) -> tuple[str, ...]:
    limits = {modality: recipe.takes(modality) for modality in recipe.modalities}
    media = (f"{modality} ({limit} a prompt)" if limit else modality for modality, limit in limits.items())
    takes = ", ".join(("text", *media)) + (" (stand-in)" if recipe.stand_in else "")
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
    extra: Annotated[
        str | None, typer.Option("--extra-body", metavar="JSON", help="Fields for the request; null leaves one out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the stream.")] = False,
) -> None:
    """Ask one engine; the answer is streamed, then its timings and token counts are shown.

    TTFT is the time from just before the request is sent to the first chunk with text (docs/metrics.md). Ask lmcache-a
    with a --context of some thousand tokens, then lmcache-b with the same: the second loads what the first stored.
    """
    settings = caller_settings()
    chosen = replace(Topology.of(settings).engine(engine), extra_body=parse_extra_body(extra))
    with MeasurementLock.of(os.environ).held(f"ask {engine}", _note):
        document = read_document(context) if context else ""
        prompt = Prompt(question, document, nonce, max_tokens, temperature)
        reply = asyncio.run(_ask(chosen, prompt, cut=cut, show=not as_json))
    if as_json:
        print(json.dumps(reply.to_json(), indent=1))
    else:
        print(f"\n\n{summary(reply)}")
    if chosen.store and (use := VolumeUse.read(settings.kv_store_dir)) and use.is_disk_full:
        _note(f"on the KV volume {DISK_FULL}")


@app.command()
def chat(
    chat_type: Annotated[
        chats.ChatType, typer.Option("--chat-type", "-c", help="What the question is about.")
    ] = chats.ChatType.SINGLE_IMAGE,
    engine: Annotated[
        list[str] | None, typer.Option(help="Whom to ask, one after another. Default: lmcache-a, then lmcache-b.")
    ] = None,
    base_url: Annotated[
        list[str] | None, typer.Option(help="Ask any server of the OpenAI API instead: http://host:port.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --base-url: its model. Default: the first it lists.")] = None,
    extra: Annotated[
        str | None, typer.Option("--extra-body", metavar="JSON", help="Fields for each request; null leaves one out.")
    ] = None,
    image: Annotated[list[str] | None, typer.Option(help="A file or an address; more with multi-image.")] = None,
    video: Annotated[list[str] | None, typer.Option(help="A file or an address.")] = None,
    audio: Annotated[list[str] | None, typer.Option(help="A file or an address.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The question. Default: that of vLLM's example client.")] = None,
    form: Annotated[
        list[Form] | None, typer.Option(help="How media are sent. Default: each way that there is for them.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="How often to ask it all.")] = 1,
    max_tokens: Annotated[int, typer.Option(min=1)] = 64,
    nonce: Annotated[
        str, typer.Option(help="Opens the prompt: a new one makes it cold, the same one lets engines share it.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each request on stdout.")] = False,
) -> None:
    """Ask about an image, images, a video or a sound, as vLLM's example client does; lmcache engines share their KV.

    Unless you give media, the project's samples are used. Times never include reading or encoding files. The second
    round of --repeat 2 shows what engines kept from the first, and the last lines how many times faster it was.
    """
    say = _print_error if as_json else print
    settings, scenario = caller_settings(), chats.SCENARIOS[chat_type]
    limits = replace(Limits.of(settings), recipe=None) if base_url else Limits.of(settings)
    given = {Modality.IMAGE: image or [], Modality.VIDEO: video or [], Modality.AUDIO: audio or []}
    sources = chats.sources(chat_type, given)
    loaded = chats.load_all(scenario.modality, sources, limits) if scenario.modality else ()
    for each in loaded:
        say(str(each))
    media = tuple(each.media for each in loaded)
    has_random_weights = bool(media and limits.recipe and limits.recipe.stand_in)  # these may end an answer at once
    if has_random_weights and limits.recipe:
        say(limits.recipe.note)
    asked = Prompt(prompt or scenario.question, "", nonce, max_tokens, ignore_eos=has_random_weights, media=media)
    forms = _forms(scenario.modality, media, form or (), () if base_url else chats.hosts_not_allowed(media, limits))
    engines = asyncio.run(_engines(Topology.of(settings), engine, base_url, model, parse_extra_body(extra)))
    requests, rounds = chats.requests(engines, asked, forms), list[chats.ChatRound]()
    with nullcontext() if base_url else MeasurementLock.of(os.environ).held(f"chat {chat_type}", _note):
        for number in range(1, repeat + 1):
            if repeat > 1:
                say(f"\nRound {number} of {repeat}")
            began = time.perf_counter()
            replies = [asyncio.run(_chat(request, loaded, number, as_json=as_json)) for request in requests]
            rounds.append(chats.ChatRound(replies, time.perf_counter() - began))
            say(f"\nTime taken: {rounds[-1].seconds:.2f} seconds")
    for line in chats.compare_rounds(requests, rounds):
        say(line)


def summary(reply: Reply) -> str:
    """Returns one line: TTFT, ITL, prompt and cached tokens, and where the cached tokens came from."""
    itl = f"ITL {reply.mean_itl * 1e3:.0f} ms, " if reply.mean_itl else ""
    usage = reply.usage
    cached = f"{usage.cached} of {usage.prompt_tokens:,} prompt tokens cached ({reply.source})"
    return f"{reply.engine}: TTFT {reply.ttft * 1e3:,.0f} ms, {itl}{cached}"


def _forms(
    modality: Modality | None, media: Sequence[Media], wanted: Sequence[Form], not_allowed: Sequence[str]
) -> Sequence[Form]:
    forms = chats.chosen_forms(modality, media, wanted, not_allowed) if modality else ()
    if not_allowed and Form.URL not in forms:
        _note(f"not sent as url: engines fetch from ALLOWED_MEDIA_DOMAINS alone, and {not_allowed[0]} is not there")
    return forms


async def _engines(
    topology: Topology,
    names: Sequence[str] | None,
    base_urls: Sequence[str] | None,
    model: str | None,
    extra: Mapping[str, Any],
) -> Sequence[Engine]:
    if names and base_urls:
        raise ConfigError("--engine names one of the arena's, --base-url another server: choose one of the two options")
    if base_urls:
        return [await external_engine(url, "a", model, extra) for url in base_urls]
    return [replace(topology.engine(name), extra_body=extra) for name in names or ("lmcache-a", "lmcache-b")]


async def _chat(
    request: chats.ChatRequest, loaded: Sequence[chats.LoadedMedia], number: int, *, as_json: bool
) -> Reply:
    if not as_json:
        print(f"\n{request.title}:")
    async for event in chats.run_chat(request):
        if isinstance(event, Reply):
            line = chats.chat_json(request, event, loaded, number) if as_json else f"\n{chats.round_line(event)}"
            print(line, flush=True)
            return event
        if not as_json:
            _show(event)
    raise AssertionError("the stream ends with a Reply or an error")


async def _ask(engine: Engine, prompt: Prompt, *, cut: bool, show: bool) -> Reply:
    fitted = await fit_to_context(engine, prompt, cut=cut)
    if fitted.document != prompt.document:
        _note(f"the document was cut to {len(fitted.document):,} of {len(prompt.document):,} characters")
    async for event in ask_engine(engine, fitted):
        if isinstance(event, Reply):
            return event
        if show:
            _show(event)
    raise AssertionError("the stream ends with a Reply or an error")


def _note(line: str) -> None:
    _print_error(f"arena: {line}")


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(delta: Delta) -> None:
    print(printable(delta.text), end="", flush=True)


if __name__ == "__main__":
    run_app(app)
