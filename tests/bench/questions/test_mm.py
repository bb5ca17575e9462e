"""The multimodal benchmark over real HTTP, with media from the generator and engines that compute nothing."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest
from bench_rows import run, sample
from fake_engine import Behaviour, FakeEngine, Volume, topology_of
from fakes import a_reply
from rich.console import Console

from bench.measure import MeasureContext
from bench.media_arms import covers_media, stops_at_media
from bench.media_prompts import MODALITIES, OTHER_QUESTION, Sizes, wanted_modalities
from bench.options import Options
from bench.plan import assign_roles
from bench.preflight import preflight
from bench.questions import mm, verify, verify_media
from bench.report import markdown, terminal
from bench.report.plots import plots
from bench.report.render import render_reports
from bench.result import Result
from bench.result_io import read_result
from bench.runner import resume_run
from client.ask import ask_whole
from client.prompt import Prompt
from config.errors import EngineRefused

SMALL = Sizes(image=(32, 32), images=(32, 32), video=(32, 32), frames=2, seconds=0.2)
NONCE = "0123456789abcdef"


def options_of(kind="mm", documents=5, **more):
    lengths = (0,) * documents if kind == "mm" else (1100,) * documents
    return Options(kind=kind, input_lens=lengths, output_len=4, num_warmups=0, sizes=SMALL, **more)


@pytest.fixture
def four():
    """Starts two plain engines and two that share a volume, all of one behaviour."""
    with ExitStack() as running:

        def start(**behaviour):
            volume = Volume()
            volumes = {"plain-a": None, "plain-b": None, "lmcache-a": volume, "lmcache-b": volume}
            fakes = [FakeEngine(name, Behaviour(**behaviour), of) for name, of in volumes.items()]
            return topology_of([running.enter_context(fake) for fake in fakes])

        yield start


def measure(topology, options, folder, study=mm.study, **more):
    more = {"bench": MeasureContext(), "check": preflight, **more}
    return run(study(options, assign_roles(topology)), options, topology.engines, folder, **more)


def rows(result, arm):
    return [row for row in result["samples"] if row["arm"] == arm]


def shown(result):
    console = Console(width=110, force_terminal=False)
    with console.capture() as captured:
        console.print(terminal.terminal_report(Result.model_validate(result)))
    return captured.get()


def prompt_of(arm, modality="image"):
    arms = {each.name: each for each in mm.arms_of(modality, SMALL)}
    return arms[f"{modality}_{arm}"].transform(Prompt("?", nonce=NONCE))


# What is sent


def test_a_nonce_is_enough_to_make_its_media_again_and_another_has_others():
    first, again = prompt_of("cold"), prompt_of("cross_read")
    assert first == again
    other = mm.arms_of("image", SMALL)[0].transform(Prompt("?", nonce="f" * 16))
    assert first.media[0].base64 != other.media[0].base64


def test_arms_vary_the_nonce_the_question_or_the_media_and_nothing_else():
    cold, processed, asked, other = map(prompt_of, ("cold", "processor_warm", "other_question", "other_media"))
    assert (processed.media, processed.question) == (cold.media, cold.question)
    assert processed.nonce not in (cold.nonce, "")
    assert (asked.media, asked.nonce, asked.question) == (cold.media, cold.nonce, OTHER_QUESTION)
    assert (other.nonce, other.question) == (cold.nonce, cold.question)
    assert other.media[0].base64 != cold.media[0].base64


def test_media_come_before_the_question_and_images_are_two_different_ones():
    *media, question = prompt_of("cold", "images").messages[1]["content"]
    assert question["type"] == "text"
    assert len({part["image_url"]["url"] for part in media}) == 2


def test_variants_differ_in_what_they_say_and_twins_do_not():
    seed = int(NONCE, 16)
    for modality in MODALITIES:
        own = mm.arms_of(modality, SMALL)[0].transform(Prompt("?", nonce=NONCE)).media
        for variant in verify_media.altered_media(modality, SMALL):
            changed = variant.make(seed)
            assert len(changed) == variant.of
            assert [a == b for a, b in zip(own, changed, strict=True)] == [True] * variant.same + [False] * (
                variant.of - variant.same
            )
        for twin in verify_media.equivalent_media(modality, SMALL):
            assert twin.make(seed) != own


# A whole run


def test_every_modality_goes_through_its_arms_and_its_canary_holds(four, tmp_path):
    result = measure(four(), options_of(documents=1), tmp_path)
    assert [row["reason"] for row in result["samples"]] == [""] * len(MODALITIES) * 9
    assert list(result["modalities"]) == list(MODALITIES)
    for modality, found in result["modalities"].items():
        assert found["canary"] == {"held": 1, "failed": [], "unproven": 0, "untold": 1, "holds": True}
        assert found["comparison"]["speedup"]["n"] == 1
        assert found["media_tokens"] == 1024 if modality == "images" else 512
        assert found["text_tokens"] == rows(result, f"{modality}_cold")[0]["prompt_tokens"] - found["media_tokens"]
    assert not result["holds"], "one document is no claim"
    assert {row["modality"] for row in rows(result, "video_cross_read")} == {"video"}


def test_a_run_that_holds_prints_and_writes_the_table_of_hits(four, tmp_path):
    result = measure(four(), options_of(modality=("image",)), tmp_path)
    assert result["holds"]
    hits = {row["query"]: row for row in result["queries"]}
    assert hits["image, first_sight"]["hit_rate_pct"] == 0
    assert hits["image, cross_read"]["kv_hits"] == 5 * 512
    assert hits["image, other_media"]["kv_hits"] == 0
    reports = render_reports(Result.model_validate(result))
    assert "| Query | Total tokens | KV hits | Hit rate |" in reports["report.md"]
    assert "| image, cross_read |" in reports["report.md"]
    assert "KV hits" in reports["report.html"]
    text = shown(result)
    assert "image, cross_read" in text
    assert "5 of 5" in text
    assert "kept apart in 5 documents" in text


def test_a_run_that_was_interrupted_goes_on_with_the_same_media_sizes_and_refusals(four, tmp_path):
    topology, asked = four(), []

    async def ask(engine, prompt):
        asked.append(prompt)
        if len(asked) == 10:
            raise KeyboardInterrupt
        return await MeasureContext().ask(engine, prompt)

    began = options_of(documents=2, modality=("image",), refused={"audio": "no ears"})
    with pytest.raises(KeyboardInterrupt):
        measure(topology, began, tmp_path, bench=MeasureContext(ask=ask))
    options, past = resume_run(tmp_path, began)
    assert options == began
    result = measure(topology, options, tmp_path, past=past)
    assert (result["complete"], result["failed"], len(result["samples"])) == (True, 0, 18)
    assert read_result(tmp_path).refused == {"audio": "no ears"}


# What a model does not take


def test_a_modality_that_the_model_refuses_is_told_by_name_and_the_others_are_measured(four, tmp_path):
    topology, options = four(refuses=("audio_url",)), options_of()
    refused = asyncio.run(mm.refused(options, topology.engines[0], MeasureContext()))
    assert list(refused) == ["audio"]
    assert "At most 0 audio_url" in refused["audio"]
    assert wanted_modalities((), refused) == ("image", "images", "video")
    named = options_of(documents=1, modality=("image", "audio"), refused=refused)
    result = measure(topology, named, tmp_path)
    assert list(result["modalities"]) == ["image"]
    assert not result["holds"], "the caller asked for audio"
    assert "audio is refused" in shown(result).lower()


@pytest.mark.parametrize("status", [500, 400])
def test_an_engine_that_fails_on_media_is_not_said_to_refuse_them(four, status):
    topology = four(status=status, says="the audio processor crashed")
    with pytest.raises(EngineRefused, match="the audio processor crashed"):
        asyncio.run(mm.refused(options_of(), topology.engines[0], MeasureContext()))


def test_a_model_that_takes_no_media_at_all_ends_without_a_claim_and_without_a_trace(four, tmp_path):
    refused = dict.fromkeys(MODALITIES, "plain-a: HTTP 400: a text model")
    result = measure(four(), options_of(refused=refused), tmp_path)
    assert not result["holds"]
    assert "no modality was measured" in shown(result)
    assert markdown.markdown_report(Result.model_validate(result))


# Traps


def test_a_cache_that_takes_other_media_for_the_same_is_found_out(four, tmp_path):
    result = measure(four(media_blind=True), options_of(modality=("image", "images"), documents=1), tmp_path)
    for modality, found in result["modalities"].items():
        assert found["canary"]["failed"], modality
        assert not found["canary"]["holds"]
    assert not result["holds"]
    assert all("mixed up" in row["reason"] for row in rows(result, "image_other_media"))
    assert "Media were mixed up: image in 1 document" in shown(result)
    hits = {row["query"]: row["kv_hits"] for row in result["queries"]}
    assert hits["image, other_media"] > 0, "the table shows what does not count"


def test_what_is_cached_must_end_before_the_media_whatever_text_follows_them():
    """1,000 tokens of media between 40 and 300 of text, on a GPU, whose blocks have 16."""
    reply = replace(a_reply(prompt=1340), text_tokens=340, before_media=40)
    faults = [stops_at_media(replace(reply, usage=replace(reply.usage, cached_tokens=n))) for n in (32, 48, 64, 336)]
    assert faults[:2] == ["", ""], "the second block may end with the mark that a model sets media in"
    assert all("mixed up" in fault for fault in faults[2:])
    second = stops_at_media(replace(reply, usage=replace(reply.usage, cached_tokens=544)), same=1, of=2)
    assert second == "", "the first of two media was seen"


def test_the_tokens_before_the_media_are_counted_by_the_tokenizer(four):
    reply = asyncio.run(MeasureContext().ask(four().engines[0], prompt_of("cold")))
    system, user = prompt_of("cold").messages
    words = ["system", *system["content"].split(), "user"]
    assert reply.before_media == len(words)
    assert reply.text_tokens == len(words) + len(user["content"][-1]["text"].split())


def answered(arm, nats, **more):
    token = [{"token": "a", "best": {"a": nats}}]
    return sample(0, f"image_{arm}", modality="image", logprobs=token, cached_tokens=0, **more)


@pytest.mark.parametrize(
    ("read", "held", "failed", "untold"),
    [(-3.01, 1, [], 0), (-1.01, 0, [0], 0), (-2.0, 1, [], 1), (-30.0, 1, [], 1)],
)
def test_an_answer_about_the_others_media_fails_the_canary_whatever_was_cached(read, held, failed, untold):
    plain = [answered("own_answer", -1.0), answered("plain_other_media", -3.0)]
    found = mm.media_mixup_check([answered("cross_read", -1.0), answered("other_media", read), *plain], "image")
    assert (found["held"], found["failed"], found["untold"]) == (held, failed, untold)


def test_answers_that_the_plain_engine_gives_alike_tell_nothing():
    plain = [answered("own_answer", -1.0), answered("plain_other_media", -1.00005)]
    found = mm.media_mixup_check([answered("cross_read", -1.0), answered("other_media", -1.0), *plain], "image")
    assert (found["held"], found["untold"], found["holds"]) == (1, 1, True)


def test_a_hit_in_the_readers_own_cache_is_not_shown_as_shared(four, tmp_path):
    result = measure(four(), options_of(documents=1, modality=("image",)), tmp_path)
    shared = {row["query"]: (row["kv_hits"], row["kv_hits_shared"]) for row in result["queries"]}
    assert shared["image, cross_read"] == (512, 512)
    assert shared["image, other_question"] == (512, 0)
    assert "cached tokens alone tell them apart" in shown(result), "the fake answers everything alike"


def test_a_canary_proves_nothing_where_equal_media_are_not_shared_either(four):
    topology = four()
    arms = {arm.name: arm for arm in mm.arms_of("image", SMALL)}
    reader = topology.engine("lmcache-b")
    prompt = arms["image_other_media"].transform(Prompt("?", nonce=NONCE))
    reply = asyncio.run(MeasureContext().ask(reader, prompt))
    assert arms["image_other_media"].invalid_reason(reply) == ""
    assert "only 0 tokens" in arms["image_other_question"].invalid_reason(reply)
    assert mm.media_mixup_check([], "image") == {"held": 0, "failed": [], "unproven": 0, "untold": 0, "holds": False}


def test_a_processor_cache_that_is_fast_is_no_kv_hit(four, tmp_path):
    result = measure(four(preprocessing=0.1), options_of(documents=2, modality=("image",)), tmp_path)
    [ratio] = [found["processor_warm_ratio"] for found in result["modalities"].values()]
    assert ratio["median"] < 0.8
    for row in rows(result, "image_processor_warm"):
        assert (row["valid"], row["cached_tokens"], row["source"], row["mm_cache_hits"]) == (True, 0, "computed", 1)
    assert {row["mm_cache_hits"] for row in rows(result, "image_cross_read")} == {0}


def test_without_a_processor_cache_nothing_is_said_of_preprocessing_and_the_claim_stands(four, tmp_path):
    result = measure(four(processor_cache=False), options_of(modality=("image",)), tmp_path)
    assert all("processor cache" in row["reason"] for row in rows(result, "image_processor_warm"))
    found = result["modalities"]["image"]
    assert found["processor_warm_ratio"]["n"] == 0
    assert found["comparison"]["verdict"] != "no claim"


def test_media_tokens_are_counted_without_the_media_and_outside_of_what_is_measured(four):
    engine = four().engines[0]
    reply = asyncio.run(MeasureContext().ask(engine, prompt_of("cold")))
    assert reply.media_tokens == 512
    assert asyncio.run(ask_whole(engine, prompt_of("cold"))).media_tokens is None


# The canary in `bench verify`


def verified(four, tmp_path, *modalities, **behaviour):
    options = options_of("verify", 1, modality=modalities)
    result = measure(four(**behaviour), options, tmp_path, verify.study)
    return result, result["verify"]


def test_verify_shows_what_is_almost_the_same_and_agrees_where_it_is_kept_apart(four, tmp_path):
    result, found = verified(four, tmp_path, "image", "images", "video")
    assert [row["reason"] for row in result["samples"]] == [""] * len(result["samples"])
    assert found["agrees"]
    assert found["text_agrees"]
    variants = {name: [row["variant"] for row in each["canaries"]] for name, each in found["media"].items()}
    assert variants["image"] == ["other_media", "one_pixel", "other_container", "other_mime"]
    assert variants["images"][:3] == ["other_order", "other_second", "one_pixel"]
    assert variants["video"][:2] == ["other_media", "one_frame_more"]
    second = next(row for row in found["media"]["images"]["canaries"] if row["variant"] == "other_second")
    assert second["cached_tokens"] == 512, "the first image is the same"
    assert "one_frame_more" in shown(result)
    assert second["told_by_answer"] is False, "the fake answers everything alike"
    report = markdown.markdown_report(read_result(tmp_path))
    assert "by tokens alone" in report
    assert "images other_second" in report
    assert "| video, one_frame_more |" in report
    assert plots(
        read_result(tmp_path)
    )  # a warning of the plotting library, which many arms bring about, would be an error here


def test_verify_finds_out_a_cache_that_is_blind_to_media(four, tmp_path):
    result, found = verified(four, tmp_path, "images", media_blind=True)
    assert (found["agrees"], found["text_agrees"]) == (False, True)
    wrong = {row["variant"]: row["why"] for row in found["media"]["images"]["canaries"] if not row["holds"]}
    assert set(wrong) == {"other_order", "other_second", "one_pixel"}
    assert all("mixed up" in why for why in wrong.values())
    assert "images other_order" in shown(result)


def test_verify_hears_the_same_sound_in_another_form(four, tmp_path):
    _, found = verified(four, tmp_path, "audio")
    [said] = [row for row in found["media"]["audio"]["canaries"] if row["variant"] == "input_audio"]
    assert (said["expected"], said["holds"], said["cached_tokens"]) == ("hits", True, 512)


def test_an_answer_that_is_not_the_plain_engines_to_the_same_media_does_not_hold():
    def saying(arm, nats):
        token = [{"token": "a", "best": {"a": nats}}]
        return sample(0, f"audio_{arm}", modality="audio", logprobs=token, text="a", cached_tokens=0)

    same = [saying("cold", -1.0), saying("own_warm", -1.1), saying("cross_read", -1.1)]
    other = [saying("plain_other_media", -3.0), saying("other_media", -1.05)]  # the answer to the first sound
    [row] = verify_media.judge_media([*same, *other], "audio", SMALL)["canaries"]
    assert not row["holds"]
    assert row["nats"] == pytest.approx(1.95)
    assert row["plain_nats"] == pytest.approx(1.9)
    assert row["told_by_answer"]
    assert "further" in row["why"]


def test_media_of_less_than_a_chunk_prove_nothing():
    """Nothing of them can be shared, so nothing can be mixed up either, and no canary may count them."""
    said = covers_media(replace(a_reply(prompt=200, cached=0), text_tokens=75))
    assert "less than a chunk" in said
    assert covers_media(replace(a_reply(prompt=700, cached=512), text_tokens=100)) == ""
    assert covers_media(replace(a_reply(prompt=700, cached=576, chunk_size=64), text_tokens=100)) == ""
    assert covers_media(replace(a_reply(prompt=700, cached=512, chunk_size=64), text_tokens=100))
