"""What is known of a model before it is served: one file each in engines/models/, with the source of every fact."""

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
COMMIT = r"^[0-9a-f]{40}$"  # of a hub's repository
REVISION = r"^([0-9a-f]{40})?$"  # or none
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class KVShape(BaseModel, frozen=True, extra="forbid", strict=True):
    """The KV of one token: a key and a value for each layer and KV head."""

    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    dtype: Literal["float32", "bfloat16", "float16"]  # the checkpoint's; DTYPE may choose another

    @property
    def bytes_per_token(self) -> int:
        return 2 * self.layers * self.heads * self.head_dim * BYTES[self.dtype]


class Recipe(BaseModel, frozen=True, extra="forbid", strict=True):
    """One model. `context` is what its positions allow, `max_model_len` a shorter one that vLLM is given."""

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)  # owner/name on the hub, or how it is made here
    revision: str = Field("", pattern=REVISION)
    companions: dict[str, Annotated[str, Field(pattern=COMMIT)]] = {}  # owner/name, loaded besides, to its commit
    licence: str
    licence_url: str = Field(pattern=r"^https://")
    modalities: tuple[Literal["image", "video", "audio"], ...] = ()  # besides text
    limit_mm_per_prompt: dict[str, int] = {}
    context: int = Field(gt=0)  # tokens
    max_model_len: int | None = Field(None, gt=0)
    trust_remote_code: bool = False
    vllm_args: tuple[str, ...] = ()
    kv: KVShape
    media_tokens: str = ""  # how many tokens media take
    stand_in: bool = False  # its image and audio encoders have random weights
    note: str = ""

    @property
    def on_hub(self) -> bool:
        return is_hub_name(self.source)

    @property
    def served_context(self) -> int:
        """Tokens of prompt and answer together."""
        return self.max_model_len or self.context

    def takes(self, modality: str) -> int | None:
        """How many media of a kind one prompt may have; None for any number."""
        return self.limit_mm_per_prompt.get(modality) if modality in self.modalities else 0

    def arguments(self, revision: str) -> list[str]:
        """What `vllm serve` gets besides the model's name. `revision` is the commit that is served, or empty.

        Raises ConfigError where code from a hub would be trusted without a commit.
        """
        argv = ["--max-model-len", str(self.max_model_len)] if self.max_model_len else []
        if self.trust_remote_code:
            self.must_be_pinned(revision)
            argv += ["--trust-remote-code"]
        if self.limit_mm_per_prompt:
            argv += ["--limit-mm-per-prompt", json.dumps(self.limit_mm_per_prompt, separators=(",", ":"))]
        return [*argv, *self.vllm_args]

    def must_be_pinned(self, revision: str) -> None:
        """Raises ConfigError for a model with code of its own and no commit."""
        if self.trust_remote_code and not revision:
            raise ConfigError(
                f"MODEL={self.source} runs code of its own, which is trusted only at a reviewed commit: review one at "
                f"https://huggingface.co/{self.source}/commits/main and set MODEL_REVISION to its 40 hex digits"
            )


def load_recipe(path: Path) -> Recipe:
    """Raises ConfigError that names the file and every fault, unknown keys included."""
    try:
        # through JSON, where a strict model takes a list for a tuple
        return Recipe.model_validate_json(json.dumps(yaml.safe_load(path.read_text())))
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise ConfigError(f"{path} is no recipe ({faults}): compare it with its neighbours") from exc
    except (OSError, TypeError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path} cannot be read as a recipe ({exc}): compare it with its neighbours") from exc


@cache
def all_recipes() -> tuple[Recipe, ...]:
    """The models made here first, then those of the hub, by name."""
    return tuple(sorted(map(load_recipe, RECIPES_FOLDER.glob("*.yaml")), key=lambda r: (r.on_hub, r.name.lower())))


def find_recipe(model: str) -> Recipe | None:
    """By name, by source, or by the folder of a model made here. A model that an operator downloaded has no recipe."""
    for recipe in all_recipes():
        made_here = not recipe.on_hub and Path(model).is_absolute() and Path(model).name == recipe.name
        if made_here or model in (recipe.name, recipe.source):
            return recipe
    return None


def model_path(model: str, models: Path) -> str:
    """Where the model with this recipe's name is: on the hub, or below `models`. Anything else stays as it is."""
    recipe = find_recipe(model)
    if recipe is None or model != recipe.name:
        return model
    return recipe.source if recipe.on_hub else str(models / recipe.name)


def is_hub_name(model: str) -> bool:
    """Whether this has the form of a hub's owner/name; the hub is not asked."""
    return re.fullmatch(r"[^./~\s][^/\s]*/[^/\s]+", model) is not None


def unknown_model_error(model: str) -> ConfigError:
    """For a word that names no model: the known names, and the nearest one."""
    known = {recipe.name.lower(): recipe.name for recipe in all_recipes()}
    nearest = get_close_matches(model.lower(), known, n=1, cutoff=0.5)
    guess = f"did you mean {known[nearest[0]]}? " if nearest else ""
    names = f"there are {', '.join(known.values())} (./arena models)"
    return ConfigError(
        f"MODEL={model} is neither a recipe's name nor a folder",
        hint=f"{guess}{names}; any other model is a folder, or a hub's owner/name",
    )
