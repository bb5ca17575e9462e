import json
import socket

import pytest

from embedded import doctor
from embedded.doctor import GIB, Verdict
from embedded.model import MANIFEST, check, digests, has_chat_template, is_whole, resolve
from engines.errors import ConfigError
from engines.settings import Settings


def test_enough_memory_is_good(settings):
    assert doctor.memory(settings, 24 * GIB).verdict is Verdict.GOOD


def test_too_little_memory_for_four_engines_offers_two(settings):
    finding = doctor.memory(settings, 10 * GIB)
    assert finding.verdict is Verdict.BAD
    assert "--engines 2" in finding.advice


def test_too_little_memory_for_two_names_what_to_turn_down(settings):
    assert "KV_CACHE_MEMORY_GB" in doctor.memory(settings, 4 * GIB).advice


def test_four_engines_stay_under_fifteen_gib(settings):
    assert doctor.memory_needed(settings) < 15


def test_a_missing_libnuma_is_told_with_the_command_that_brings_it():
    finding = doctor.libnuma(find=lambda _: None)
    assert (finding.verdict, "apt-get install libnuma1" in finding.advice) == (Verdict.BAD, True)


@pytest.mark.parametrize(
    ("flags", "verdict"), [("sse2", Verdict.BAD), ("avx2", Verdict.NOTE), ("avx2 avx512f", Verdict.GOOD)]
)
def test_the_processor_is_judged_by_its_flags(flags, verdict):
    assert doctor.cpu(f"flags : {flags}", "x86_64").verdict is verdict


def test_a_taken_port_is_named_with_its_service_and_its_setting(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "UI_PORT": str(port)})
        (finding,) = [f for f in doctor.ports(settings) if str(port) in f.fact]
    assert "page" in finding.fact
    assert "UI_PORT" in finding.advice


def test_a_volume_that_cannot_be_written_is_bad(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "KV_STORE_DIR": "/proc/kv"})
    finding = doctor.volume(settings)
    assert finding.verdict is Verdict.BAD
    assert "KV_STORE_DIR" in finding.fact


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    return folder


def test_a_whole_model_folder_is_taken_as_it_is(model, tmp_path):
    assert resolve(str(model), tmp_path, say=print) == str(model)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "lacks config.json"),
        ("model.safetensors", "lacks weights"),
        ("tokenizer.json", "lacks a tokenizer"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_an_incomplete_model_folder_is_refused_with_what_it_lacks(model, missing, said):
    (model / missing).unlink()
    with pytest.raises(ConfigError, match=said):
        check(model)


def test_a_missing_shard_is_named(model):
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002.safetensors"}}')
    with pytest.raises(ConfigError, match=r"model-00002\.safetensors"):
        check(model)


def test_a_file_that_was_cut_off_is_named(model):
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "mod')
    with pytest.raises(ConfigError, match=r"damaged model\.safetensors\.index\.json"):
        check(model)


def test_a_running_stack_is_not_told_that_its_own_ports_are_taken(settings):
    subjects = [finding.subject for finding in doctor.examine(settings, running=True)]
    assert "stack" in subjects
    assert not {"port", "ports", "memory"} & set(subjects)


def test_a_chat_template_inside_the_tokenizers_settings_counts(model):
    (model / "chat_template.jinja").unlink()
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert has_chat_template(model)


@pytest.mark.parametrize("name", ["./none", "/none/here", "just-a-word", "a/b/c"])
def test_a_model_that_is_neither_a_folder_nor_a_hubs_name_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        resolve(name, tmp_path, say=print)


def test_a_hubs_name_is_handed_to_vllm(tmp_path):
    assert resolve("Qwen/Qwen3-8B", tmp_path, say=print) == "Qwen/Qwen3-8B"


def test_a_prepared_model_without_its_manifest_or_with_a_changed_byte_is_not_whole(model):
    assert not is_whole(model)
    (model / MANIFEST).write_text(json.dumps(digests(model)))
    assert is_whole(model)
    (model / "model.safetensors").write_text("{]")
    assert not is_whole(model)
