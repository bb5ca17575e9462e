"""`./arena chat`: the questions of vLLM's example client, put to engines in each form that media are sent in.

What is done to a file before it can be sent is timed apart, and stands in no request's time.
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

CHUNK = 256  # tokens that are stored together


class ChatType(StrEnum):
    """The example client's words."""

    TEXT_ONLY = "text-only"
    SINGLE_IMAGE = "single-image"
    MULTI_IMAGE = "multi-image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class ChatScenario:
    """What a chat type asks, of what, and with which of our samples when nothing else is given."""

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
    """A file or address as it can be sent, and what that took."""

    media: Media
    read: Second  # or downloaded
    encoded: Second  # and checked

    def __str__(self) -> str:
        media = self.media
        got = "downloaded" if media.url else "read"
        took = f"{got} in {self.read * 1e3:,.1f} ms, checked and encoded in {self.encoded * 1e3:,.1f} ms"
        return f"{media.name}: {media.mime}, {media.extent}, {media.size / 1024:,.1f} KiB; {took}"

    def to_json(self) -> dict[str, object]:
        media = self.media
        described = {"name": media.name, "mime": media.mime, "extent": media.extent, "size": media.size}
        return described | {"read_ms": self.read * 1e3, "encode_ms": self.encoded * 1e3}


def sources(chat_type: ChatType, named: Mapping[Modality, Sequence[str]]) -> Sequence[str | Path]:
    """The files and addresses that were named for this chat type, or else our samples. Raises ConfigError."""
    scene = SCENARIOS[chat_type]
    for modality, each in named.items():
        if each and modality is not scene.modality:
            raise ConfigError(f"--{modality} is not for --chat-type {chat_type}: choose another chat type")
    given = named[scene.modality] if scene.modality else ()
    if len(given) > 1 and chat_type is not ChatType.MULTI_IMAGE:
        raise ConfigError(f"--chat-type {chat_type} takes one --{scene.modality}: multi-image takes more images")
    return given or [SAMPLES / name for name in scene.samples]


def load_all(
    wanted: Modality, named: Sequence[str | Path], limits: Limits, clock: Callable[[], Second] = time.perf_counter
) -> tuple[LoadedMedia, ...]:
    """Reads, checks and encodes, for one prompt. Raises MediaError."""
    from media.load import encode_media, read_media_file  # --help need not wait for PyAV

    prepared = list[LoadedMedia]()
    for each in named:
        began = clock()
        file = read_media_file(each, limits)
        had = clock()
        media = encode_media(file, limits, wanted)
        prepared.append(LoadedMedia(media, had - began, clock() - had))
        limits.check_prompt([known.media for known in prepared])
    return tuple(prepared)


def hosts_not_allowed(media: Sequence[Media], limits: Limits) -> Sequence[str]:
    """The hosts of these media that the arena's engines do not fetch from."""
    return sorted({urlsplit(each.url).hostname or "" for each in media if each.url} - limits.allowed_hosts)


def chosen_forms(
    modality: Modality, media: Sequence[Media], asked_for: Sequence[Form], unfetched: Sequence[str] = ()
) -> Sequence[Form]:
    """Those that were asked for, or all that make sense, in the example client's order.

    An engine need not be asked for what lies on hosts that it is known not to fetch from. Raises ConfigError for a form
    that these media cannot have.
    """
    possible = [Form.INPUT_AUDIO] if modality is Modality.AUDIO else []
    possible += [Form.URL] if all(each.url for each in media) else []
    possible.append(Form.DATA_URL)
    for form in asked_for:
        if form not in possible:
            wants = "media given as addresses" if form is Form.URL else "a sound"
            raise ConfigError(f"--form {form} wants {wants}: choose {' or '.join(possible)}")
    return asked_for or [form for form in possible if form is not Form.URL or not unfetched]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One prompt to one engine. `form` is None without media."""

    engine: Engine
    prompt: Prompt
    form: Form | None = None

    @property
    def title(self) -> str:
        return f"{self.engine.name}, {self.form}" if self.form else self.engine.name


def requests(engines: Sequence[Engine], prompt: Prompt, sent_as: Sequence[Form]) -> Sequence[ChatRequest]:
    """All of them on one engine before the next, so that a later engine shows what it took over."""
    wholes = [(form, replace(prompt, media=tuple(replace(m, form=form) for m in prompt.media))) for form in sent_as]
    return [ChatRequest(e, each, form) for e in engines for form, each in wholes] or [
        ChatRequest(e, prompt) for e in engines
    ]


@dataclass(frozen=True, slots=True)
class ChatRound:
    """Each request once, in the order of `requests`."""

    replies: Sequence[Reply]
    took: Second  # all of them; reading and encoding files was before


NOTHING_KEPT = (
    "Nothing was cached, so these ratios are noise: engines keep whole blocks of tokens only, and a chunk on the KV "
    "volume has 256. Longer media or a longer --prompt fill them."
)


TOO_SHORT = (
    "Nothing could be shared: engines store whole chunks of 256 tokens on the KV volume, and no prompt here fills one. "
    "Give a longer --prompt, or media (-c single-image)."
)


def compare_rounds(asked: Sequence[ChatRequest], rounds: Sequence[ChatRound]) -> Iterator[str]:
    """How much sooner the last round was than the first, and each of its requests.

    Of a single round only that its prompts were too short to be shared, where they were.
    """
    if len(rounds) < 2:
        if all(reply.usage.prompt_tokens < CHUNK for each in rounds for reply in each.replies):
            yield TOO_SHORT
        return
    first, last = rounds[0], rounds[-1]
    yield f"Round 1 took {first.took:.2f} s, round {len(rounds)} {last.took:.2f} s: {first.took / last.took:.2f} times"
    for request, cold, warm in zip(asked, first.replies, last.replies, strict=True):
        times = f"{cold.ttft * 1e3:,.0f} ms, then {warm.ttft * 1e3:,.0f} ms: {cold.ttft / warm.ttft:.2f} times"
        yield f"{request.title}: TTFT {times}"
    if all(reply.usage.cached_tokens == 0 for reply in last.replies):
        yield NOTHING_KEPT


async def run_chat(request: ChatRequest) -> AsyncIterator[Delta | Reply]:
    """As `ask` does, after a count of the tokens that are not of media. Raises EngineError.

    A server that lends no tokenizer, which would have told the form that its chat template takes, is asked once more in
    the other form where it refuses this one: a request with a clock of its own.
    """
    prompt, text = await _counted(request.engine, request.prompt)
    try:
        async for event in _asked(request.engine, prompt, text):
            yield event
    except EngineRefused as exc:
        if text is not None or prompt.no_system_role or not rejects_system_role(exc):
            raise
        try:
            async for event in _asked(request.engine, replace(prompt, no_system_role=True), None):
                yield event
        except EngineRefused as again:
            raise (again if exc.kind is RefusalKind.SYSTEM_ROLE else exc) from None


async def _asked(engine: Engine, prompt: Prompt, text: int | None) -> AsyncIterator[Delta | Reply]:
    async with aclosing(ask(engine, prompt)) as events:
        async for event in events:
            yield replace(event, text_tokens=text) if isinstance(event, Reply) else event


async def _counted(engine: Engine, prompt: Prompt) -> tuple[Prompt, int | None]:
    """In a form that the chat template takes; None from a server that does not lend its tokenizer."""
    try:
        bare, text, _ = await count_tokens(engine, replace(prompt, media=()))
    except (DocumentError, EngineRefused):
        return prompt, None
    return replace(bare, media=prompt.media), text


def round_line(reply: Reply) -> str:
    """What a request cost."""
    usage = reply.usage
    media = "" if reply.media_tokens is None else f", {reply.media_tokens:,} of them of media"
    times = f"TTFT {reply.ttft * 1e3:,.0f} ms, total {reply.e2el * 1e3:,.0f} ms"
    return f"{times}; {usage.prompt_tokens:,} prompt tokens{media}; {usage.cached} cached ({reply.source})"


def chat_json(request: ChatRequest, reply: Reply, given: Sequence[LoadedMedia], number: int) -> str:
    """One object on one line; `number` is the round's, from 1."""
    about = {"round": number, "form": request.form, "media": [each.to_json() for each in given]}
    return json.dumps(reply.to_json() | about)
