"""Recipes: facts about a model that are needed before it is served.

Each model has one file in engines/models/, which also gives the source of every fact.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from config.errors import ConfigError
from config.paths import ROOT

RECIPES_FOLDER = ROOT / "engines" / "models"
COMMIT = r"^[0-9a-f]{40}$"  # of a repository on the Hugging Face Hub
REVISION = r"^([0-9a-f]{40})?$"  # may be empty
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class KVShape(BaseModel, frozen=True, extra="forbid", strict=True):
    """The shape of one token's KV: a key and a value for each layer and KV head."""

    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    dtype: Literal["float32", "bfloat16", "float16"]  # of the checkpoint; the setting DTYPE may override it

    @property
    def bytes_per_token(self) -> int:
        return 2 * self.layers * self.heads * self.head_dim * BYTES[self.dtype]


class Recipe(BaseModel, frozen=True, extra="forbid", strict=True):
    """One model. `context` is the most tokens its positions allow; `max_model_len` is a shorter limit set in vLLM."""

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)  # owner/name on the hub, or how the arena makes it
    revision: str = Field("", pattern=REVISION)
    companions: dict[str, Annotated[str, Field(pattern=COMMIT)]] = {}  # more repositories to load: owner/name to commit
    licence: str
    licence_url: str = Field(pattern=r"^https://")
    modalities: tuple[Literal["image", "video", "audio"], ...] = ()  # in addition to text
    limit_mm_per_prompt: dict[str, int] = {}
    context: int = Field(gt=0)  # tokens
    max_model_len: int | None = Field(None, gt=0)
    trust_remote_code: bool = False
    vllm_args: tuple[str, ...] = ()
    parameters: int = Field(gt=0)  # of the weights that vLLM loads
    kv: KVShape
    media_tokens: str = ""  # a description of how many tokens media take
    stand_in: bool = False  # its image and audio encoders have random weights
    note: str = ""

    @property
    def on_hub(self) -> bool:
        return is_hub_name(self.source)

    @property
    def served_context(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return self.max_model_len or self.context

    def takes(self, modality: str) -> int | None:
        """Returns how many media of a kind one prompt may have: 0 for none, None for any number."""
        return self.limit_mm_per_prompt.get(modality) if modality in self.modalities else 0

    def arguments(self, revision: str) -> list[str]:
        """Returns the arguments of `vllm serve` after the model's name. `revision` is the served commit, or empty.

        Raises ConfigError if code from the hub would be trusted without a pinned commit.
        """
        argv = ["--max-model-len", str(self.max_model_len)] if self.max_model_len else []
        if self.trust_remote_code:
            self.must_be_pinned(revision)
            argv += ["--trust-remote-code"]
        if self.limit_mm_per_prompt:
            argv += ["--limit-mm-per-prompt", json.dumps(self.limit_mm_per_prompt, separators=(",", ":"))]
        return [*argv, *self.vllm_args]

    def must_be_pinned(self, revision: str) -> None:
        """Raises ConfigError if the model runs its own code and `revision` is empty."""
        if self.trust_remote_code and not revision:
            raise ConfigError(
                f"MODEL={self.source} runs code of its own, which is trusted only at a reviewed commit: review one at "
                f"https://huggingface.co/{self.source}/commits/main and set MODEL_REVISION to its 40 hex digits"
            )


def load_recipe(path: Path) -> Recipe:
    """Reads a recipe. Raises ConfigError, which names the file and every fault, including unknown keys."""
    try:
        # through JSON, because only there a strict model accepts a list for a tuple
        return Recipe.model_validate_json(json.dumps(yaml.safe_load(path.read_text())))
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise ConfigError(f"{path} is no recipe ({faults}): compare it with its neighbours") from exc
    except (OSError, TypeError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path} cannot be read as a recipe ({exc}): compare it with its neighbours") from exc


@cache
def all_recipes() -> tuple[Recipe, ...]:
    """Returns all recipes, sorted by name: first models that the arena makes, then models on the hub."""
    return tuple(sorted(map(load_recipe, RECIPES_FOLDER.glob("*.yaml")), key=lambda r: (r.on_hub, r.name.lower())))


def find_recipe(model: str) -> Recipe | None:
    """Finds a recipe by name, by source, or by the folder of a model that the arena made.

    Returns None for any other model, such as one that the operator downloaded.
    """
    for recipe in all_recipes():
        made_here = not recipe.on_hub and Path(model).is_absolute() and Path(model).name == recipe.name
        if made_here or model in (recipe.name, recipe.source):
            return recipe
    return None


def model_path(model: str, models: Path) -> str:
    """Resolves a recipe's name to owner/name on the hub or a folder in `models`; returns anything else unchanged."""
    recipe = find_recipe(model)
    if recipe is None or model != recipe.name:
        return model
    return recipe.source if recipe.on_hub else str(models / recipe.name)


def is_hub_name(model: str) -> bool:
    """Returns whether the text has the form owner/name; sends no request to the hub."""
    return re.fullmatch(r"[^./~\s][^/\s]*/[^/\s]+", model) is not None


def unknown_model_error(model: str) -> ConfigError:
    """Returns an error for an unknown model, which lists the known names and suggests the most similar one."""
    known = {recipe.name.lower(): recipe.name for recipe in all_recipes()}
    nearest = get_close_matches(model.lower(), known, n=1, cutoff=0.5)
    guess = f"did you mean {known[nearest[0]]}? " if nearest else ""
    names = f"there are {', '.join(known.values())} (./arena models)"
    return ConfigError(
        f"MODEL={model} is neither a recipe's name nor a folder",
        hint=f"{guess}{names}; any other model is a folder, or a hub's owner/name",
    )
