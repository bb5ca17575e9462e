import json
import re
from dataclasses import replace

import pytest
from fake_engine import Behaviour, FakeEngine, Volume
from fakes import a_reply
from typer.testing import CliRunner

from bench.synthetic_media import audio, image
from client.prompt import Prompt
from config.errors import ConfigError, EngineRefused, MediaError
from config.recipe import all_recipes
from config.settings import DEFAULT_SIZES, Settings
from engines import chat
from engines.__main__ import app
from engines.chat import ChatType
from media import SAMPLES, Form, Modality
from media.limits import Limits
from media.load import load_media

LIMITS = Limits(1, 1_000_000, 60, 100, 10**8, 9, 9, allowed_hosts=frozenset({"own.test"}))


def run(*words, **env):
    return CliRunner().invoke(app, ["chat", *(str(word) for word in words)], env=env)


def refused(*words, **env):
    error = run(*words, **env).exception
    assert isinstance(error, ConfigError | MediaError | EngineRefused), repr(error)
    assert "\n" not in str(error)
    return error


@pytest.fixture
def pair():
    volume = Volume()
    with FakeEngine("lmcache-a", volume=volume) as a, FakeEngine("lmcache-b", volume=volume) as b:
        yield a, b


def of(*fakes):
    """The fakes as servers to ask."""
    return [*(word for fake in fakes for word in ("--base-url", fake.engine.url)), "--model", "arena"]


def asked(*words):
    """The objects that --json prints."""
    result = run(*words, "--json")
    assert result.exit_code == 0, result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("chat_type", [each for each in ChatType if each is not ChatType.TEXT_ONLY])
def test_the_second_engine_has_the_media_cached_of_each_chat_type(pair, chat_type):
    first, second = asked("-c", chat_type, "--form", "data-url", *of(*pair))
    media_tokens = 1024 if chat_type is ChatType.MULTI_IMAGE else 512
    assert (first["media_tokens"], first["cached_tokens"]) == (media_tokens, 0)
    assert (second["media_tokens"], second["cached_tokens"]) == (media_tokens, media_tokens)


def test_text_alone_has_no_media_tokens(pair):
    for each in asked("-c", "text-only", *of(*pair)):
        assert (each["form"], each["media"], each["media_tokens"]) == (None, [], 0)


def test_a_sound_goes_in_both_forms_that_carry_its_bytes_and_is_shared_between_them(pair):
    forms = [(each["form"], each["cached_tokens"]) for each in asked("-c", "audio", *of(pair[0]))]
    assert forms == [("input-audio", 0), ("data-url", 512)]


def test_repeat_asks_it_all_again_and_a_nonce_makes_it_cold(pair):
    rounds = asked("--repeat", "2", *of(pair[0]))
    assert [(each["round"], each["cached_tokens"]) for each in rounds] == [(1, 0), (2, 512)]
    assert [each["cached_tokens"] for each in asked("--nonce", "0123456789abcdef", *of(pair[0]))] == [0]


def test_what_a_person_sees(pair):
    shown = run(*of(*pair)).stdout
    assert "image.png: image/png, 672×672, 121.2 KiB; read in " in shown
    assert "512 of them of media; 512 cached (shared" in shown
    assert shown.count("it copies frames around") == 2
    assert "Time taken: " in shown.splitlines()[-1]


def test_two_rounds_show_by_how_much_the_second_is_sooner(pair):
    lines = run("--repeat", "2", *of(*pair)).stdout.splitlines()
    assert [line for line in lines if line.startswith("Round")][:2] == ["Round 1 of 2", "Round 2 of 2"]
    assert sum(line.startswith("Time taken: ") for line in lines) == 2
    assert lines[-3].startswith("Round 1 took ")
    assert all("data-url: TTFT " in line for line in lines[-2:])
    assert all(line.endswith(" times") for line in lines[-3:])


def test_the_ratio_of_rounds_and_of_each_request(topology):
    wanted = chat.requests(topology.engines[2:3], Prompt("why?", media=(image(1, 32, 32),)), [Form.DATA_URL])
    rounds = [
        chat.ChatRound([replace(a_reply(cached=512), ttft=ttft)], took) for ttft, took in ((9.0, 37.96), (0.3, 5.4))
    ]
    assert list(chat.compare_rounds(wanted, rounds)) == [
        "Round 1 took 37.96 s, round 2 5.40 s: 7.03 times",
        "lmcache-a, data-url: TTFT 9,000 ms, then 300 ms: 30.00 times",
    ]
    assert list(chat.compare_rounds(wanted, rounds[:1])) == []


def test_what_is_too_short_to_be_stored_or_cached_is_said(topology):
    wanted = chat.requests(topology.engines[:1], Prompt("Why?"), ())
    short = replace(a_reply(), usage=replace(a_reply().usage, prompt_tokens=34))
    assert list(chat.compare_rounds(wanted, [chat.ChatRound([short], 9.0)])) == [chat.TOO_SHORT.format(256)]
    rounds = [chat.ChatRound([a_reply(cached=cached)], 9.0) for cached in (0, 0, 512)]
    assert list(chat.compare_rounds(wanted, rounds[:2]))[-1] == chat.NOTHING_CACHED
    assert chat.NOTHING_CACHED not in chat.compare_rounds(wanted, rounds)


def test_a_json_object_says_what_each_file_took_apart_from_the_request(pair):
    (first, _) = asked(*of(*pair))
    (media,) = first["media"]
    assert media["read_ms"] > 0
    assert media["encode_ms"] > 0
    assert (media["name"], media["mime"], media["size"]) == ("image.png", "image/png", 124094)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("At most 1 image(s) may be provided in one prompt.", "give fewer"),
        ("At most 0 audio(s) may be provided in one prompt.", "choose a MODEL that takes them"),
        ("arena is not a multimodal model", "choose a MODEL that takes media"),
        ("The URL must be from one of the allowed domains: ['x']. Input URL domain: y", "ALLOWED_MEDIA_DOMAINS"),
    ],
)
def test_media_that_the_model_does_not_take_are_one_sentence_with_a_next_step(said, step):
    with FakeEngine(behaviour=Behaviour(status=400, says=said)) as fake:
        error = refused(*of(fake))
    assert isinstance(error, EngineRefused)
    assert f"HTTP 400: {said.rstrip('.')}: " in str(error)
    assert step in str(error)


def test_a_template_without_a_system_role_gets_the_media_too():
    with FakeEngine(behaviour=Behaviour(user_only=True)) as fake:
        (reply,) = asked(*of(fake))
    assert reply["media_tokens"] == 512


PHI = {"MODEL": "Phi-3.5-vision-instruct"}
IMAGE, TWO = (
    SAMPLES / "image.png",
    ("-c", "multi-image", "--image", SAMPLES / "image.png", "--image", SAMPLES / "image-2.png"),
)


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (("-c", "video", "--image", "a.png"), {}, "--image is not for --chat-type video"),
        (("-c", "text-only", "--audio", "a.ogg"), {}, "--audio is not for --chat-type text-only"),
        (("--image", "a.png", "--image", "b.png"), {}, "multi-image takes more"),
        (("--image", SAMPLES / "speech.ogg"), {}, "is a sound (audio/ogg): give an image"),
        (("--image", IMAGE), {"MEDIA_MAX_PIXELS": "4000"}, "MEDIA_MAX_PIXELS"),
        (TWO, {"MEDIA_MAX_FILES": "1"}, "MEDIA_MAX_FILES"),
        ((*TWO, "--image", IMAGE), PHI, "at most 2 images"),
        (("-c", "audio"), PHI, "takes no audio"),
        (("--form", "input-audio"), {}, "input-audio needs a sound"),
        (("--form", "url"), {}, "url needs media given as addresses"),
        (("--engine", "plain-a", "--base-url", "http://127.0.0.1:1"), {}, "choose one"),
        (("--engine", "x"), {}, "no engine 'x'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_an_engine_is_asked(words, env, said):
    assert said in str(refused(*words, **env))


def test_the_recipe_says_nothing_of_another_server(pair):
    assert run("-c", "audio", *of(pair[0]), MODEL="Phi-3.5-vision-instruct").exit_code == 0


def test_an_address_is_sent_as_such_where_engines_may_fetch_from_it():
    there = replace(audio(1, 0.2), url="http://own.test/a.wav")
    elsewhere = replace(there, url="http://other.test/a.wav")
    assert chat.hosts_not_allowed([there, elsewhere], LIMITS) == ["other.test"]
    forms = lambda media, *asked_for: list(  # noqa: E731
        chat.chosen_forms(Modality.AUDIO, [media], asked_for, chat.hosts_not_allowed([media], LIMITS))
    )
    assert forms(there) == [Form.INPUT_AUDIO, Form.URL, Form.DATA_URL]
    assert forms(elsewhere) == [Form.INPUT_AUDIO, Form.DATA_URL]
    assert forms(elsewhere, Form.URL) == [Form.URL]


def test_all_requests_to_one_engine_come_before_those_to_the_next(topology):
    prompt = Prompt("why?", media=(image(1, 32, 32),))
    made = chat.requests(topology.engines[2:], prompt, [Form.URL, Form.DATA_URL])
    once = ["lmcache-a, url", "lmcache-a, data-url", "lmcache-b, url", "lmcache-b, data-url"]
    assert [each.title for each in made] == once
    assert [each.title for each in chat.requests(topology.engines[:1], Prompt("why?"), [])] == ["plain-a"]


def test_a_server_that_lends_no_tokenizer_leaves_the_media_tokens_open():
    assert (
        chat.round_line(a_reply(prompt=700)) == "TTFT 9,000 ms, total 9,050 ms; 700 prompt tokens; 0 cached (computed)"
    )


def tokens_of(recipe, seconds, width, height, frames):
    """How many tokens media are at least, by what vLLM 0.32's processors do with each model's own settings."""
    match recipe.name, seconds, frames:
        case "ultravox-v0_5-llama-3_2-1b", seconds, None:
            return seconds * 50 / 8  # Whisper's 50 frames a second, eight in one token
        case _, seconds, None if seconds:
            return seconds * 25
        case "llava-onevision-qwen2-7b-ov-hf", _, frames if frames:
            return min(32, frames) * 196
        case _, _, frames if frames:
            return frames / 4 * 2 / 2 * 128  # of 4 a second two are taken, two are one, and each is 128 tokens at least
        case "llava-1.5-7b-hf", _, _:
            return 576
        case "Phi-3.5-vision-instruct", _, _:
            return (4 + 1) * 144 + 1 + 3 * 12  # four crops of 336x336 and the whole, with the ends of lines
        case "llava-onevision-qwen2-7b-ov-hf", _, _:
            return 729  # of the whole alone
    return (width // 28) * (height // 28)


@pytest.mark.parametrize("chat_type", [each for each in ChatType if each is not ChatType.TEXT_ONLY])
@pytest.mark.parametrize("recipe", [each for each in all_recipes() if each.modalities], ids=lambda each: each.name)
def test_each_sample_fills_two_chunks_with_each_model_that_takes_it(recipe, chat_type):
    scene = chat.SCENARIOS[chat_type]
    if scene.modality not in recipe.modalities:
        pytest.skip("the model does not take it")
    total = 0
    for sample in scene.samples:
        extent = load_media(SAMPLES / sample, Limits.of(Settings.from_env({})), scene.modality).extent
        numbers = [float(each) for each in re.findall(r"[0-9.]+", extent)]
        seconds, *size = [*numbers, 0, None] if scene.modality is Modality.AUDIO else [0, *map(int, numbers)]
        total += tokens_of(recipe, seconds, *(*size, None, None, None)[:3])
    assert total >= 2 * int(DEFAULT_SIZES["cuda"]["CHUNK_SIZE"]), f"{total} tokens"


def test_a_template_without_a_system_role_is_answered_by_a_server_that_lends_no_tokenizer():
    with FakeEngine(behaviour=Behaviour(user_only=True, lends_tokenizer=False)) as fake:
        [row] = asked("-c", "text-only", *of(fake))
        assert row["text"]
        assert [message["role"] for message in fake.last["messages"]] == ["user"]


def test_a_field_that_a_server_does_not_know_is_left_out():
    with FakeEngine(behaviour=Behaviour(unknown=("max_tokens",))) as fake:
        assert "--extra-body" in refused("-c", "text-only", *of(fake)).hint
        assert asked("-c", "text-only", *of(fake), "--extra-body", '{"max_tokens": null}')[0]["text"]
        assert "max_tokens" not in fake.last


@pytest.mark.parametrize(
    ("chat_type", "model", "kept_going"),
    [
        (ChatType.SINGLE_IMAGE, "SmolLM2-135M-Omni", True),
        (ChatType.TEXT_ONLY, "SmolLM2-135M-Omni", False),
        (ChatType.SINGLE_IMAGE, "llava-1.5-7b-hf", False),
    ],
)
def test_eyes_of_random_weights_do_not_end_an_answer_before_its_first_word(chat_type, model, kept_going):
    with FakeEngine("lmcache-a") as fake:
        done = run("-c", chat_type, "--engine", "lmcache-a", MODEL=model, ENGINE_URL=fake.engine.url)
        assert done.exit_code == 0, done.exception
    assert fake.last.get("ignore_eos", False) is kept_going
