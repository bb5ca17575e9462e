"""What a model needs on a GPU and in the host, and the table of it in docs/deploy.md."""

import pytest

from config.paths import ROOT
from config.recipe import all_recipes, find_recipe
from config.settings import Settings
from launch.check_result import GIB, CheckStatus
from launch.model_size import ModelSize

BEGIN, END = "<!-- the table: tests/launch/test_model_size.py -->\n", "<!-- end of the table -->\n"
CARDS_MIB = {"A10": 23_028, "A40": 46_068, "RTX A6000": 49_140, "H100": 81_559}  # memory.total of nvidia-smi
ALONE = {CheckStatus.GOOD: "1", CheckStatus.NOTE: "1, close", CheckStatus.BAD: "none"}


GPU = Settings.from_env({"DEVICE": "cuda"})


def engines_on(model, mib):
    """How many of four engines one card holds, two or more with `shared_kv_gib` each."""
    shared = (n for n in (4, 2) if model.fit(mib * 2**20, n, model.shared_kv_gib) is CheckStatus.GOOD)
    return str(next(shared, ALONE[model.fit(mib * 2**20)]))


def row(recipe):
    model = ModelSize.of(recipe, GPU)
    cells = (
        recipe.name,
        f"{model.weights / GIB:.1f}",
        f"{model.least_kv / GIB:.3f}",
        f"{model.engine_bytes(model.shared_kv_gib * GIB) / GIB:.1f}",
        *(engines_on(model, mib) for mib in CARDS_MIB.values()),
        f"{model.shared_kv_gib:g}",
        f"{model.l1_gib(model.document)} / {model.l1_gib(model.context)}",
    )
    return f"| {' | '.join(cells)} |\n"


def test_the_table_in_the_documents_is_what_is_computed():
    text = (ROOT / "docs" / "deploy.md").read_text()
    table = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].splitlines(keepends=True)
    cards = " | ".join(f"{name}, {mib / 1024:.1f}" for name, mib in CARDS_MIB.items())
    assert f"| {cards} |" in table[0]
    assert "".join(table[2:]) == "".join(map(row, all_recipes()))


@pytest.mark.parametrize("recipe", all_recipes(), ids=lambda recipe: recipe.name)
def test_a_recommended_kv_cache_holds_the_longest_prompt_and_a_document(recipe):
    model = ModelSize.of(recipe, GPU)
    assert model.shared_kv_gib * GIB >= model.least_kv + model.document * model.kv_per_token
    assert model.least_kv == model.kv_per_token * (model.context + 16)


def test_twice_the_bytes_a_number_take_twice_the_weights_and_the_kv():
    settings = (GPU, GPU.model_copy(update={"dtype": "float32"}))
    half, whole = (ModelSize.of(find_recipe("llava-1.5-7b-hf"), each) for each in settings)
    assert (whole.weights, whole.kv_per_token) == (2 * half.weights, 2 * half.kv_per_token)


def test_an_l1_has_room_for_what_it_was_sized_for_and_less_without_encryption():
    model = ModelSize.of(find_recipe("Mistral-7B-Instruct-v0.2"), GPU)
    for copies, gib in ((2, 40), (1, 20)):
        assert model.l1_gib(model.context, copies) == gib
        assert model.loadable(gib, copies) == model.context
        assert model.loadable(gib - 1, copies) < model.context
