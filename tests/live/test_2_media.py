"""Images, films and sound on real engines: engines share the KV of media, and media are never mixed up."""

import asyncio
import json
import wave
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from live.conftest import MEDIA_HOST
from media_files import FILES

from bench.arms import loaded_from_volume
from bench.measure import ask_measured
from bench.media_arms import stops_at_media
from cache.wait_for_store import chunks_to_store, count_stored, wait_until_stored
from client.prompt import Prompt, new_nonce
from config.errors import EngineError, MediaError
from config.settings import Settings
from engines.chat import ChatType
from media import SAMPLES, Form, Modality
from media.limits import Limits
from media.load import MediaFile, encode_media, load_media

pytestmark = pytest.mark.live
LONG = "Say what it is, and then say it again in other words. " * 40  # long enough for whole chunks after the media
MODALITIES = ("image", "images", "video", "audio")


@pytest.mark.parametrize("chat_type", ChatType)
def test_each_chat_type_crosses_over_in_each_form(stack, arena, chat_type):
    words = ("--prompt", LONG, "--nonce", new_nonce(), "--max-tokens", "4", "--json")
    first, *rest = asked(arena("chat", "--chat-type", chat_type, "--engine", "lmcache-a", *words))
    for again in rest:  # another form of the same sound
        assert again["cached_tokens"] >= again["media_tokens"]
    crossed = asked(arena("chat", "--chat-type", chat_type, "--engine", "lmcache-b", *words))
    assert len(crossed) == (2 if chat_type is ChatType.AUDIO else 1)
    assert first["cached_tokens"] == 0
    for reply in crossed:
        assert reply["prompt_tokens"] == first["prompt_tokens"]
        assert reply["cached_tokens"] >= max(stack.engine("lmcache-b").chunk_size, reply["media_tokens"])
    assert crossed[0]["cached_tokens_details"]["storage"] == crossed[0]["cached_tokens"]


@pytest.mark.parametrize("chat_type", [each for each in ChatType if each is not ChatType.TEXT_ONLY])
def test_the_second_engine_reads_most_of_each_default_sample(stack, arena, chat_type):
    """Runs `./arena chat -c TYPE` with the default samples."""
    replies = asked(arena("chat", "--chat-type", chat_type, "--nonce", new_nonce(), "--max-tokens", "4", "--json"))
    forms = len(replies) // 2
    assert [reply["engine"] for reply in replies] == ["lmcache-a"] * forms + ["lmcache-b"] * forms
    assert replies[0]["cached_tokens"] == 0
    for reply in replies[forms:]:
        assert reply["cached_tokens"] >= max(512, 0.6 * reply["prompt_tokens"])


@pytest.mark.parametrize("modality", Modality)
def test_all_formats_that_are_accepted_are_answered(stack, modality):
    """Sends the files of docs/media.md, a dozen per prompt."""
    limits = Limits.of(Settings.from_env({}))
    accepted = [media for name in FILES if name.startswith(modality) for media in taken(name, limits)]
    assert len(accepted) > 20
    for at in range(0, len(accepted), 12):
        prompt = Prompt("What are they?", "", new_nonce(), 4, ignore_eos=True, media=tuple(accepted[at : at + 12]))
        reply = asyncio.run(ask_measured(stack.engine("plain-a"), prompt))
        assert reply.media_tokens >= len(prompt.media)


def taken(name, limits):
    """Yields the file as it is sent, or nothing if it is refused."""
    with suppress(MediaError):
        yield encode_media(MediaFile(name, FILES[name].make()), limits, Modality(name.partition(".")[0]))


def asked(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_almost_equal_media_share_nothing_and_equal_ones_in_another_form_all(stack, arena, results):
    """`bench verify` sends media that differ in one pixel, one frame or their order, with the same text."""
    out = results / "verify-media.json"
    small = ("--image-size", "672x672", "--images-size", "504x504", "--num-frames", "16", "--audio-seconds", "20")
    once = (
        "--num-prompts",
        "1",
        "--num-warmups",
        "0",
        "--input-len",
        "1104",
        "--output-len",
        "4",
        *small,
    )
    named = [word for modality in MODALITIES for word in ("--modality", modality)]
    verify = arena("bench", "verify", *named, *once, "--json", str(out), timeout=1200)
    print(verify.stdout)
    assert verify.returncode == 0, verify.stdout + verify.stderr
    media = json.loads(out.read_text())["verify"]["media"]
    assert set(media) == set(MODALITIES)
    for each in media.values():
        assert len(each["canaries"]) >= 3
        assert all(row["holds"] for row in each["canaries"]), each


def test_the_benchmark_of_media_proves_where_each_samples_tokens_came_from(stack, arena, results):
    """Checks that every sample meets its arm's conditions; one document is too few for a claim about speed."""
    out = results / "mm.json"
    bench = arena("bench", "mm", "--num-prompts", "1", "--num-warmups", "0", "--json", str(out), timeout=1200)
    print(bench.stdout)
    assert bench.returncode in (0, 1), bench.stderr
    result = json.loads(out.read_text())
    assert {row["modality"] for row in result["samples"]} == set(MODALITIES)
    assert [(row["arm"], row["reason"]) for row in result["samples"] if not row["valid"]] == []
    assert min(row["media_tokens"] for row in result["samples"]) >= 1000


@pytest.fixture
def address():
    """Serves the samples over HTTP on a host from which engines may fetch."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SAMPLES))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{MEDIA_HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing."""


def fetched(address, name="image.png", modality=Modality.IMAGE):
    """Returns a sample downloaded from `address`."""
    limits = replace(Limits.of(Settings.from_env({})), allowed_hosts=frozenset({MEDIA_HOST}))
    return load_media(f"{address}/{name}", limits, modality)


@pytest.mark.parametrize(
    ("name", "modality"),
    [("image.png", Modality.IMAGE), ("video.mp4", Modality.VIDEO), ("speech.ogg", Modality.AUDIO)],
)
def test_media_sent_by_another_name_are_found_that_the_other_engine_had_as_bytes(stack, address, name, modality):
    media = fetched(address, name, modality)
    prompt = Prompt(LONG, "", new_nonce(), 4, media=(media,))
    by_address = replace(prompt, media=(replace(media, form=Form.URL, url=f"{media.url}?again"),))
    first, second = asyncio.run(crossing(stack.engine("lmcache-a"), stack.engine("lmcache-b"), prompt, by_address))
    assert stops_at_media(first) == ""
    assert first.usage.cached_tokens == 0
    assert (second.usage.prompt_tokens, second.media_tokens) == (first.usage.prompt_tokens, first.media_tokens)
    assert loaded_from_volume(second) == ""
    assert second.usage.cached_tokens >= second.before_media + second.media_tokens


def test_a_sound_of_another_rate_than_the_models_is_heard(stack, tmp_path):
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(44_100)
        sound.writeframes(bytes(4 * 44_100))
    media = load_media(path, Limits.of(Settings.from_env({})), Modality.AUDIO)
    reply = asyncio.run(
        ask_measured(stack.engine("plain-a"), Prompt("What is it?", "", new_nonce(), 4, media=(media,)))
    )
    assert reply.media_tokens == pytest.approx(25, abs=3)  # for one second of sound


async def crossing(writer, reader, written, read):
    """Returns both replies; the reader is asked once the KV that the writer computed is on the volume."""
    before = await count_stored(writer.cache)
    first = await ask_measured(writer, written)
    await wait_until_stored(writer.cache, before, chunks_to_store(first))
    return first, await ask_measured(reader, read)


def test_an_engine_fetches_from_allowed_hosts_only(stack, address):
    media = fetched(address)
    elsewhere = replace(media, form=Form.URL, url=media.url.replace(MEDIA_HOST, "127.0.0.1"))
    with pytest.raises(EngineError, match="ALLOWED_MEDIA_DOMAINS"):
        asyncio.run(ask_measured(stack.engine("plain-a"), Prompt(LONG, "", new_nonce(), 4, media=(elsewhere,))))
