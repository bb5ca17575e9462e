"""`./arena chat`: asks engines the questions of vLLM's example client, with media in each form a request allows.

Reading, checking and encoding files is timed separately, before any request.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from client.ask import ask
from client.prompt import Prompt
from client.reply import Delta, Reply, Second
from client.tokenizer import count_tokens
from client.vllm_errors import rejects_system_role
from config.errors import ConfigError, DocumentError, EngineRefused, RefusalKind
from config.topology import Engine
from media import SAMPLES, Form, Media, Modality
from media.limits import Limits


class ChatType(StrEnum):
    """The chat types, named as in the example client."""

    TEXT_ONLY = "text-only"
    SINGLE_IMAGE = "single-image"
    MULTI_IMAGE = "multi-image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class ChatScenario:
    """A chat type's question, its kind of media, and the sample files to use when no media are given."""

    question: str
    modality: Modality | None = None
    samples: tuple[str, ...] = ()


SCENARIOS: Mapping[ChatType, ChatScenario] = {
    ChatType.TEXT_ONLY: ChatScenario("What's the capital of France?"),
    ChatType.SINGLE_IMAGE: ChatScenario("What's in this image?", Modality.IMAGE, ("image.png",)),
    ChatType.MULTI_IMAGE: ChatScenario(
        "What are the animals in these images?", Modality.IMAGE, ("image.png", "image-2.png")
    ),
    ChatType.VIDEO: ChatScenario("What's in this video?", Modality.VIDEO, ("video.mp4",)),
    ChatType.AUDIO: ChatScenario("What's in this audio?", Modality.AUDIO, ("speech.ogg",)),
}


@dataclass(frozen=True, slots=True)
class LoadedMedia:
    """Media from a file or address, ready to be sent, with the seconds that preparing it took."""

    media: Media
    read: Second  # for reading or downloading
    encoded: Second  # for checking and encoding

    def __str__(self) -> str:
        media = self.media
        verb = "downloaded" if media.url else "read"
        times = f"{verb} in {self.read * 1e3:,.1f} ms, checked and encoded in {self.encoded * 1e3:,.1f} ms"
        return f"{media.name}: {media.mime}, {media.extent}, {media.size / 1024:,.1f} KiB; {times}"

    def to_json(self) -> dict[str, object]:
        media = self.media
        described = {"name": media.name, "mime": media.mime, "extent": media.extent, "size": media.size}
        return described | {"read_ms": self.read * 1e3, "encode_ms": self.encoded * 1e3}


def sources(chat_type: ChatType, given: Mapping[Modality, Sequence[str]]) -> Sequence[str | Path]:
    """Returns the files and addresses given for this chat type, or the project's samples.

    Raises ConfigError for media of another kind, or for more than one where the chat type allows one.
    """
    scenario = SCENARIOS[chat_type]
    for modality, each in given.items():
        if each and modality is not scenario.modality:
            raise ConfigError(f"--{modality} is not for --chat-type {chat_type}: choose another chat type")
    chosen = given[scenario.modality] if scenario.modality else ()
    if len(chosen) > 1 and chat_type is not ChatType.MULTI_IMAGE:
        raise ConfigError(f"--chat-type {chat_type} takes one --{scenario.modality}: multi-image takes more images")
    return chosen or [SAMPLES / name for name in scenario.samples]


def load_all(
    wanted: Modality, sources: Sequence[str | Path], limits: Limits, clock: Callable[[], Second] = time.perf_counter
) -> tuple[LoadedMedia, ...]:
    """Reads, checks and encodes the media of one prompt. Raises MediaError."""
    from media.load import encode_media, read_media_file  # so that --help does not wait for PyAV

    loaded = list[LoadedMedia]()
    for source in sources:
        began = clock()
        file = read_media_file(source, limits)
        was_read = clock()
        media = encode_media(file, limits, wanted)
        loaded.append(LoadedMedia(media, was_read - began, clock() - was_read))
        limits.check_prompt([each.media for each in loaded])
    return tuple(loaded)


def hosts_not_allowed(media: Sequence[Media], limits: Limits) -> Sequence[str]:
    """Returns the hosts of these media that the arena's engines may not fetch from."""
    return sorted({urlsplit(each.url).hostname or "" for each in media if each.url} - limits.allowed_hosts)


def chosen_forms(
    modality: Modality, media: Sequence[Media], wanted: Sequence[Form], not_allowed: Sequence[str] = ()
) -> Sequence[Form]:
    """Returns the `wanted` forms, or else all possible ones in the example client's order.

    The default omits `url` if there are `not_allowed` hosts. Raises ConfigError for a form these media cannot have.
    """
    possible = [Form.INPUT_AUDIO] if modality is Modality.AUDIO else []
    possible += [Form.URL] if all(each.url for each in media) else []
    possible.append(Form.DATA_URL)
    for form in wanted:
        if form not in possible:
            needs = "media given as addresses" if form is Form.URL else "a sound"
            raise ConfigError(f"--form {form} needs {needs}: choose {' or '.join(possible)}")
    return wanted or [form for form in possible if form is not Form.URL or not not_allowed]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One prompt for one engine. `form` is None if the prompt has no media."""

    engine: Engine
    prompt: Prompt
    form: Form | None = None

    @property
    def title(self) -> str:
        return f"{self.engine.name}, {self.form}" if self.form else self.engine.name


def requests(engines: Sequence[Engine], prompt: Prompt, forms: Sequence[Form]) -> Sequence[ChatRequest]:
    """Returns the requests in order: all forms on one engine, then on the next.

    So a later engine shows what it loads from an earlier one.
    """
    prompts = [replace(prompt, media=tuple(replace(each, form=form) for each in prompt.media)) for form in forms]
    sent = list(zip(prompts, forms, strict=True)) if forms else [(prompt, None)]
    return [ChatRequest(engine, each, form) for engine in engines for each, form in sent]


@dataclass(frozen=True, slots=True)
class ChatRound:
    """The replies of one round, which sends each request once, in the order of `requests`."""

    replies: Sequence[Reply]
    seconds: Second  # for all requests, without reading and encoding files


NOTHING_CACHED = (
    "Nothing was cached, so these ratios are noise: engines keep whole blocks of tokens only, and the KV volume whole "
    "chunks. Longer media or a longer --prompt fill them."
)
TOO_SHORT = (
    "Nothing could be shared: engines store whole chunks of {} tokens on the KV volume, and no prompt here fills one. "
    "Give a longer --prompt, or media (-c single-image)."
)


def compare_rounds(asked: Sequence[ChatRequest], rounds: Sequence[ChatRound]) -> Iterator[str]:
    """Yields lines on how many times faster the last round was than the first, in total and for each request.

    A single round yields at most a note that all prompts were too short to be shared.
    """
    if len(rounds) < 2:
        replies = [reply for each in rounds for reply in each.replies]
        if all(reply.usage.prompt_tokens < reply.chunk_size for reply in replies):
            yield TOO_SHORT.format(asked[0].engine.chunk_size)
        return
    first, last = rounds[0], rounds[-1]
    times = first.seconds / last.seconds
    yield f"Round 1 took {first.seconds:.2f} s, round {len(rounds)} {last.seconds:.2f} s: {times:.2f} times"
    for request, cold, warm in zip(asked, first.replies, last.replies, strict=True):
        ttft = f"TTFT {cold.ttft * 1e3:,.0f} ms, then {warm.ttft * 1e3:,.0f} ms: {cold.ttft / warm.ttft:.2f} times"
        yield f"{request.title}: {ttft}"
    if all(reply.usage.cached_tokens == 0 for reply in last.replies):
        yield NOTHING_CACHED


async def run_chat(request: ChatRequest) -> AsyncIterator[Delta | Reply]:
    """Counts the prompt's text tokens, then yields the events of `ask`. Raises EngineError.

    The count also shows whether the chat template accepts a system role. If a server has no tokenizer endpoint and
    refuses the request because of the system role, a second request without one is sent and timed on its own.
    """
    prompt, text_tokens = await _count_text(request.engine, request.prompt)
    try:
        async for event in _ask(request.engine, prompt, text_tokens):
            yield event
    except EngineRefused as exc:
        if text_tokens is not None or prompt.no_system_role or not rejects_system_role(exc):
            raise
        try:
            async for event in _ask(request.engine, replace(prompt, no_system_role=True), None):
                yield event
        except EngineRefused as again:
            raise (again if exc.kind is RefusalKind.SYSTEM_ROLE else exc) from None


async def _ask(engine: Engine, prompt: Prompt, text_tokens: int | None) -> AsyncIterator[Delta | Reply]:
    async with aclosing(ask(engine, prompt)) as events:
        async for event in events:
            yield replace(event, text_tokens=text_tokens) if isinstance(event, Reply) else event


async def _count_text(engine: Engine, prompt: Prompt) -> tuple[Prompt, int | None]:
    """Returns the prompt in a form that the chat template accepts, and the number of its text tokens.

    The number is None if the server has no tokenizer endpoint.
    """
    try:
        without_media, text_tokens, _ = await count_tokens(engine, replace(prompt, media=()))
    except (DocumentError, EngineRefused):
        return prompt, None
    return replace(without_media, media=prompt.media), text_tokens


def round_line(reply: Reply) -> str:
    """Returns one line with the times and token counts of one request."""
    usage = reply.usage
    media = "" if reply.media_tokens is None else f", {reply.media_tokens:,} of them of media"
    times = f"TTFT {reply.ttft * 1e3:,.0f} ms, total {reply.e2el * 1e3:,.0f} ms"
    return f"{times}; {usage.prompt_tokens:,} prompt tokens{media}; {usage.cached} cached ({reply.source})"


def chat_json(request: ChatRequest, reply: Reply, given: Sequence[LoadedMedia], number: int) -> str:
    """Returns one JSON object on one line. `number` is the number of the round, from 1."""
    fields = {"round": number, "form": request.form, "media": [each.to_json() for each in given]}
    return json.dumps(reply.to_json() | fields)
