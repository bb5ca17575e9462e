import json
from pathlib import Path

import pytest

from config.errors import ConfigError, StackError
from config.recipe import find_recipe
from config.settings import STAND_IN_MODEL
from engines.prepare_model import (
    MANIFEST,
    check_folder,
    fetch_from_hub,
    file_digests,
    generate_model,
    has_chat_template,
    matches_manifest,
    resolve_model,
)

PYTHON = Path("python")  # converts, where something is to be converted


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    return folder


def test_a_whole_model_folder_is_taken_as_it_is(model, tmp_path):
    assert resolve_model(str(model), tmp_path, PYTHON, say=print) == str(model)


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
        check_folder(model)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('{"weight_map": {"a": "model-00002.safetensors"}}', r"model-00002\.safetensors"),
        ('{"weight_map": {"a": "mod', r"damaged model\.safetensors\.index\.json"),
    ],
)
def test_a_missing_shard_and_a_file_that_was_cut_off_are_named(model, index, said):
    (model / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ConfigError, match=said):
        check_folder(model)


def test_a_chat_template_inside_the_tokenizers_settings_counts(model):
    (model / "chat_template.jinja").unlink()
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert has_chat_template(model)


@pytest.mark.parametrize("name", ["./none", "/none/here", "just-a-word", "a/b/c"])
def test_a_model_that_is_neither_a_folder_nor_a_hubs_name_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="is neither a recipe's name nor a folder"):
        resolve_model(name, tmp_path, PYTHON, say=print)


def test_a_folder_that_has_the_name_of_one_made_here_is_the_operators(model, tmp_path):
    mine = model.rename(tmp_path / STAND_IN_MODEL)
    assert resolve_model(str(mine), tmp_path / "models", PYTHON, say=print) == str(mine)
    assert not (mine / MANIFEST).exists()


@pytest.mark.parametrize(
    ("model", "served"),
    [("llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf"), ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B")],
)
def test_a_recipes_name_is_its_model_on_the_hub_and_a_hubs_name_is_handed_to_vllm(tmp_path, model, served):
    assert resolve_model(model, tmp_path, PYTHON, say=print) == served


def test_a_prepared_model_without_its_manifest_or_with_a_changed_byte_is_not_whole(model):
    assert not matches_manifest(model)
    (model / MANIFEST).write_text(json.dumps(file_digests(model)))
    assert matches_manifest(model)
    (model / "model.safetensors").write_text("{]")
    assert not matches_manifest(model)


def test_a_folder_of_the_operators_is_checked_before_engines_start(model, tmp_path):
    assert fetch_from_hub(str(model), tmp_path, None, say=print) == str(model)
    (model / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"config\.json"):
        fetch_from_hub(str(model), tmp_path, None, say=print)


def test_a_token_that_cannot_be_read_is_told_without_a_trace(tmp_path):
    with pytest.raises(ConfigError, match="token"):
        fetch_from_hub("owner/name", tmp_path, tmp_path / "none", say=print)


def test_companions_are_fetched_at_their_commits_and_found_by_who_names_none(model, tmp_path):
    recipe, asked = find_recipe("ultravox-v0_5-llama-3_2-1b"), {}

    def from_hub(name, _cache, _token, revision, *_files):
        asked[name] = revision
        return str(model)

    fetch_from_hub(recipe.source, tmp_path, None, print, recipe.revision, from_hub)
    assert asked == {**recipe.companions, recipe.source: recipe.revision}
    for name, commit in recipe.companions.items():
        assert (tmp_path / f"models--{name.replace('/', '--')}" / "refs" / "main").read_text() == commit


def test_a_place_for_the_model_that_cannot_be_written_is_told_without_a_trace(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be written"):
        fetch_from_hub(str(tmp_path / "file" / STAND_IN_MODEL), tmp_path, None, say=print)


def test_the_embedded_model_is_the_text_model_with_media_towers_and_is_made_once(tmp_path):
    python, steps = tmp_path / "python", tmp_path / "steps"
    python.write_text(
        f"""#!/bin/sh
        mkdir "$4" && echo "$(basename "$2") $(basename "$3") $(basename "$4")" >>{steps} && cd "$4" &&
        touch config.json model.safetensors tokenizer.json chat_template.jinja
        """
    )
    python.chmod(0o755)
    for _ in range(2):
        folder = generate_model(
            tmp_path / "models" / STAND_IN_MODEL, python, print, unpack=lambda scratch: scratch / "gguf"
        )
    assert steps.read_text().splitlines() == [
        "gguf_to_hf.py gguf gguf_to_hf",
        "multimodal_stub.py gguf_to_hf multimodal_stub",
    ]
    assert matches_manifest(folder)
