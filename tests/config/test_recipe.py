import json
import os
import subprocess
import sys
from typing import get_args

import pytest
import yaml
from typer.testing import CliRunner

from config.errors import ConfigError
from config.paths import ROOT
from config.recipe import RECIPES_FOLDER, KVShape, Recipe, all_recipes, find_recipe, load_recipe, model_path
from config.settings import SETTING_NAMES, STAND_IN_MODEL, Settings
from engines.__main__ import app as engines_app
from engines.vllm_command import vllm_command
from media import Modality

NAMED = [recipe.name for recipe in all_recipes()]
PHI_LIMIT = """--limit-mm-per-prompt '{"image":2}'"""
# LMCache's multimodal quickstart, except for its connector
QUICKSTART = {
    "fixie-ai/ultravox-v0_5-llama-3_2-1b": ["--max-model-len 4096", "--trust-remote-code"],
    "llava-hf/llava-1.5-7b-hf": [],
    "microsoft/Phi-3.5-vision-instruct": ["--trust-remote-code", "--max-model-len 4096", PHI_LIMIT],
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": [],
}
OF_RECIPES = ("--max-model-len", "--trust-remote-code", "--limit-mm-per-prompt")


def served(topology, name="lmcache-a", **env):
    return vllm_command(topology.engine(name), Settings.from_env(env))


def test_each_name_is_one_model_and_one_file():
    assert len(set(NAMED)) == len({recipe.source for recipe in all_recipes()}) == len(NAMED)
    assert sorted(NAMED) == sorted(path.stem for path in RECIPES_FOLDER.glob("*.yaml"))
    assert all(recipe.source.split("/")[-1] == recipe.name for recipe in all_recipes() if recipe.on_hub)


def test_those_made_here_come_first_and_some_model_really_takes_all_media():
    assert STAND_IN_MODEL in NAMED[:2]
    assert find_recipe(STAND_IN_MODEL).stand_in
    assert any(set(recipe.modalities) == set(Modality) and not recipe.stand_in for recipe in all_recipes())
    (modality, _) = get_args(Recipe.model_fields["modalities"].annotation)
    assert set(get_args(modality)) == set(Modality)


@pytest.mark.parametrize("recipe", all_recipes(), ids=NAMED)
def test_what_a_recipe_says_fits_together(recipe):
    assert recipe.served_context <= recipe.context
    assert set(recipe.limit_mm_per_prompt) <= set(recipe.modalities)
    assert len(recipe.revision) == (40 if recipe.on_hub else 0)


def test_the_kv_of_a_token_is_a_key_and_a_value_of_each_layer_and_head():
    assert KVShape(layers=30, heads=3, head_dim=64, dtype="bfloat16").bytes_per_token == 2 * 30 * 3 * 64 * 2
    assert find_recipe("Qwen2.5-Omni-7B").kv.bytes_per_token == 57_344


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"licnce": "MIT"}, "licnce: Extra inputs"),
        ({"context": "8192"}, "context: Input should be a valid integer"),
        ({"modalities": ["smell"]}, r"modalities\.0"),
        ({"revision": "main"}, "revision"),
        ({"kv": {"layers": 30}}, r"kv\.heads"),
    ],
)
def test_a_recipe_with_a_fault_is_named_with_it(tmp_path, changed, fault):
    whole = yaml.safe_load((RECIPES_FOLDER / f"{STAND_IN_MODEL}.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(whole | changed))
    with pytest.raises(ConfigError, match=rf"mine\.yaml is no recipe.*{fault}"):
        load_recipe(path)


@pytest.mark.parametrize("content", ["a: [", "", "- 1\n", "2026-11-23"])
def test_a_file_that_is_no_mapping_is_named(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_recipe(path)


@pytest.mark.parametrize(("source", "flags"), QUICKSTART.items())
@pytest.mark.parametrize("name", ["plain-a", "lmcache-a"])
def test_both_kinds_are_served_as_the_quickstart_does(topology, source, flags, name):
    shown = str(served(topology, name, MODEL=source))
    assert f"vllm serve {source} " in shown
    assert all(f" {flag} " in shown for flag in flags)
    assert sum(shown.count(flag) for flag in OF_RECIPES) == len(flags)
    assert ("--kv-transfer-config" in shown) == (name == "lmcache-a")


@pytest.mark.parametrize("recipe", all_recipes(), ids=NAMED)
def test_name_and_source_are_served_alike(topology, recipe):
    by_name = served(topology, MODEL=recipe.name)
    assert not recipe.on_hub or served(topology, MODEL=recipe.source) == by_name
    commits = [by_name.argv[i + 1] for i, word in enumerate(by_name.argv) if word.endswith("revision")]
    assert commits == [recipe.revision] * 3 * recipe.on_hub


def test_a_model_made_here_lies_among_the_models_however_it_is_named(tmp_path):
    env = {"ARENA_HOME": str(tmp_path), "MODEL": STAND_IN_MODEL}
    folder = Settings.from_env(env).model
    assert folder == str(tmp_path / "models" / STAND_IN_MODEL)
    assert model_path(folder, tmp_path) == folder
    assert find_recipe(folder).name == STAND_IN_MODEL


@pytest.mark.parametrize("model", ["owner/name", "/data/Phi-3.5-vision-instruct", "/data/mine", "HuggingFaceTB/other"])
def test_what_has_no_recipe_is_served_without_flags_and_without_trust(topology, model):
    argv = served(topology, MODEL=model).argv
    assert argv[:3] == ("vllm", "serve", model)
    assert not {*OF_RECIPES, "--revision"} & set(argv)


def test_code_is_trusted_at_a_commit_only():
    trusting = find_recipe("Phi-3.5-vision-instruct").model_copy(update={"revision": ""})
    with pytest.raises(ConfigError, match="MODEL_REVISION"):
        trusting.arguments("")
    assert "--trust-remote-code" in trusting.arguments("a" * 40)


def test_the_operators_commit_goes_before_the_recipes(topology):
    argv = served(topology, MODEL="Phi-3.5-vision-instruct", MODEL_REVISION="a" * 40).argv
    assert [argv[argv.index(f"--{kind}revision") + 1] for kind in ("", "code-", "tokenizer-")] == ["a" * 40] * 3


def test_a_folder_has_no_commit():
    assert Settings.from_env({"MODEL": "/data/mine", "MODEL_REVISION": "a" * 40}).revision == ""


def test_the_list_names_every_recipe_and_the_chosen_one(tmp_path):
    def listed(*words, **env):
        return CliRunner(env={"ARENA_HOME": str(tmp_path), **env}).invoke(engines_app, ["models", *words]).stdout

    each = json.loads(listed("--json", MODEL="llava-hf/llava-1.5-7b-hf"))["models"]
    assert [one["name"] for one in each] == NAMED
    assert [one["name"] for one in each if one["chosen"]] == ["llava-1.5-7b-hf"]
    assert each[0]["kv_bytes_per_1000_tokens"] == 23_040_000
    lines = listed().splitlines()
    assert len(lines) == 1 + len(NAMED)
    assert STAND_IN_MODEL in next(line for line in lines if "*" in line)
    assert "image (2 a prompt)" in next(line for line in lines if "Phi" in line)


def up(*words, home):
    env = {"PATH": os.environ["PATH"], "ARENA_HOME": str(home)}
    command = [sys.executable, "-m", "launch", "up", *words, "--print"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_print_shows_each_servers_command_and_makes_nothing(tmp_path):
    shown = up("--model", "Phi-3.5-vision-instruct", home=tmp_path / "home")
    lines = shown.stdout.splitlines()
    assert lines[::2] == ["# cache-a", "# cache-b", "# plain-a", "# plain-b", "# lmcache-a", "# lmcache-b"]
    assert "vllm serve microsoft/Phi-3.5-vision-instruct" in lines[-1]
    assert not (tmp_path / "home").exists()


def test_a_wrong_name_is_answered_with_the_nearest_and_all_others(tmp_path):
    failed = up("--model", "phi-3.5-vision", home=tmp_path)
    assert failed.returncode == 2
    assert "did you mean Phi-3.5-vision-instruct?" in failed.stderr
    assert all(name in failed.stderr for name in NAMED)


def test_compose_hands_the_choice_to_every_server():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    engines = ("plain-a", "plain-b", "lmcache-a", "lmcache-b")
    takers = {
        "MODEL": ("model", "cache-a", "cache-b", *engines, "bench", "page"),
        "MODEL_REVISION": ("model", "cache-a", "cache-b", *engines, "bench", "page"),
        "ALLOWED_MEDIA_DOMAINS": (*engines, "bench", "page"),
    }
    assert set(takers) <= set(SETTING_NAMES)
    for key, names in takers.items():
        given = {name: compose["services"][name]["environment"][key] for name in names}
        assert all(value.startswith(f"${{{key}:-") for value in given.values()), key
