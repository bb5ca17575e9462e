"""Whether the containers can have MODEL: from the hub, from its cache, or from a folder of the host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from config.errors import ConfigError
from config.paths import nearest_existing
from config.recipe import find_recipe, is_hub_name, unknown_model_error
from config.settings import EMBEDDED_MODEL, Settings
from engines import hub
from engines.hub import HttpGet, HubAccess, HubStatus
from engines.prepare_model import GENERATED_MODELS, check_folder, is_generated
from launch.check_result import CheckResult, CheckStatus
from launch.docker_engine import DockerInfo
from launch.host_folders import ContainerUser, check_readable_file, check_writable_folder, compose_path
from launch.requirements import GIB

MODEL = "mistralai/Mistral-7B-Instruct-v0.2"  # as docker-compose.yml has it
MODELS = Path("/models")  # where containers see MODEL_DIR


def check_model_access(
    env: Mapping[str, str], daemon: DockerInfo | None, get: HttpGet
) -> tuple[tuple[CheckResult, ...], int | None]:
    """What there is to say of MODEL, and its weights in bytes, None where unknown."""
    settings = chosen_model(env, MODEL)
    if not is_hub_name(settings.model):
        return _folder(Path(os.path.normpath(settings.model)), env)
    recipe, findings, weights = find_recipe(settings.model), list[CheckResult](), list[int | None]()
    repositories = {settings.model: settings.revision} | (recipe.companions if recipe else {})
    for name, revision in repositories.items():
        found, size = _on_hub(name, revision, env, daemon, get)
        findings.extend(found)
        weights.append(size)
    return tuple(findings), None if None in weights else sum(size or 0 for size in weights)


def chosen_model(env: Mapping[str, str], default: str) -> Settings:
    """The choice of MODEL and MODEL_REVISION, as containers see it: those made here lie below MODELS."""
    given = {"MODEL": env.get("MODEL") or default, "MODEL_REVISION": env.get("MODEL_REVISION", "")}
    return Settings.from_env({**given, "ARENA_HOME": str(MODELS.parent)})


def on_cpu(env: Mapping[str, str]) -> CheckResult:
    """Containers on the CPU ask no hub: their model is one that is made here."""
    model = Path(chosen_model(env, EMBEDDED_MODEL).model)
    if is_generated(model, MODELS):
        return CheckResult("model", CheckStatus.GOOD, f"{model.name}, made where it is missing")
    names = " or ".join(GENERATED_MODELS)
    return CheckResult(
        "model", CheckStatus.BAD, f"MODEL={model}, and containers on the CPU ask no hub", f"set MODEL to {names}"
    )


def _on_hub(
    name: str, revision: str, env: Mapping[str, str], daemon: DockerInfo | None, get: HttpGet
) -> tuple[tuple[CheckResult, ...], int | None]:
    cache = compose_path(env, "LOCAL_HF_HOME", "~/.cache/huggingface") / "hub"
    if kept := hub.cached_model(name, cache, revision):
        return (CheckResult("model", CheckStatus.GOOD, f"{name} is in {cache}"),), hub.weights_bytes(kept)
    token, trouble = _token(env)
    answer = hub.check_access(name, token, revision, get)
    findings = [*trouble, _heard(name, answer)]
    if not (daemon and daemon.maps_users):
        inner = (".locks", f"models--{name.replace('/', '--')}")
        findings.append(check_writable_folder("hub cache", cache, ContainerUser.of(env), inner=inner, made_by_up=True))
    findings.extend(_download(cache, answer))
    return tuple(findings), answer.weights


def _folder(folder: Path, env: Mapping[str, str]) -> tuple[tuple[CheckResult, ...], int | None]:
    """A model that lies below MODEL_DIR, as containers name it."""
    if len(folder.parts) == 1:
        error = unknown_model_error(str(folder))
        return (CheckResult("model", CheckStatus.BAD, error.fact, error.hint),), None
    if not folder.is_relative_to(MODELS):
        fact = f"MODEL={folder} is neither a hub's owner/name nor below {MODELS}, all that containers see"
        advice = f"set MODEL_DIR in .env to the folder that holds it, and MODEL to {MODELS / (folder.name or 'NAME')}"
        return (CheckResult("model", CheckStatus.BAD, fact, advice),), None
    if is_generated(folder, MODELS):
        return (CheckResult("model", CheckStatus.GOOD, f"{folder.name}, made where it is missing"),), None
    if not env.get("MODEL_DIR"):
        fact = f"MODEL={folder}, but MODEL_DIR names no folder"
        return (
            CheckResult("model", CheckStatus.BAD, fact, f"set MODEL_DIR in .env to the folder of {folder.name}"),
        ), None
    here = compose_path(env, "MODEL_DIR", "") / folder.relative_to(MODELS)
    try:
        check_folder(here)
    except (ConfigError, OSError) as exc:
        return (CheckResult("model", CheckStatus.BAD, str(exc), f"{MODELS} in MODEL is MODEL_DIR here"),), None
    return (CheckResult("model", CheckStatus.GOOD, str(here)),), hub.weights_bytes(here)


def _heard(name: str, access: HubAccess) -> CheckResult:
    """What to do about the hub's answer."""
    where = f"{hub.HUB}/{name}"
    advice = {
        HubStatus.MISSING: f"check MODEL in .env against {hub.HUB}; a private model needs a token (HF_TOKEN_FILE)",
        HubStatus.GATED: f"accept its terms at {where}, and name a file with a token of that account in HF_TOKEN_FILE",
        HubStatus.REJECTED: f"make a new one at {hub.HUB}/settings/tokens, for the file that HF_TOKEN_FILE names",
        HubStatus.REFUSED: f"accept its terms at {where} with the token's account, and let a fine-grained token read "
        "public gated repositories",
        HubStatus.UNREACHABLE: "a start needs the hub, unless the model is in LOCAL_HF_HOME: check the network",
    }
    if access.answer is HubStatus.OPEN:
        return CheckResult("model", CheckStatus.GOOD, f"{name} {access.answer}")
    verdict = CheckStatus.NOTE if access.answer is HubStatus.UNREACHABLE else CheckStatus.BAD
    said = f" ({access.said})" if access.answer is HubStatus.UNREACHABLE else ""
    return CheckResult("model", verdict, f"{name}: {access.answer}{said}", advice[access.answer])


def _token(env: Mapping[str, str]) -> tuple[str, tuple[CheckResult, ...]]:
    """The token, or empty; and what keeps the containers from reading it."""
    file = compose_path(env, "HF_TOKEN_FILE", "/dev/null")
    trouble = check_readable_file("token", file, ContainerUser.of(env))
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        token = ""
        trouble = trouble or CheckResult(
            "token", CheckStatus.NOTE, f"only the containers can read {file}: asked without it"
        )
    return token, (trouble,) if trouble else ()


def _download(cache: Path, access: HubAccess) -> Iterator[CheckResult]:
    free = shutil.disk_usage(nearest_existing(cache)).free
    if access.weights and free < access.weights:
        fact = f"{free / GIB:.1f} GiB free in {cache}, and the model takes {access.weights / GIB:.1f}"
        yield CheckResult("hub cache", CheckStatus.BAD, fact, "free some, or set LOCAL_HF_HOME to a larger disk")
