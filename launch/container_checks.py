"""Checks what containers need from the host: folders, the files of secrets, and MODEL."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from config.errors import ConfigError
from config.paths import nearest_existing
from config.recipe import find_recipe, is_hub_name, unknown_model_error
from config.settings import STAND_IN_MODEL, Settings
from engines import hub
from engines.hub import HttpGet, HubAccess, HubStatus
from engines.prepare_model import GENERATED_MODELS, check_folder, is_generated
from launch.check_result import GIB, CheckResult, CheckStatus, bad, good, note
from launch.compose import READ, WRITE, ContainerUser, compose_path
from launch.docker_checks import DockerInfo
from launch.model_size import ModelSize

MODEL = "mistralai/Mistral-7B-Instruct-v0.2"  # as in docker-compose.yml
L1_SIZE_GB = 20  # likewise
MEMORY_LIMITS = {"CACHE_MEMORY": "32g", "ENGINE_MEMORY": "64g"}  # likewise
MEMORY = re.compile(r"(\d+)([bkmg]?)b?")  # a size as Compose reads it
MODELS = Path("/models")  # the path of MODEL_DIR inside containers


def check_volume(env: Mapping[str, str], docker: DockerInfo | None) -> CheckResult:
    """Checks the KV volume's folder, and each model's folder in it."""
    folder = compose_path(env, "KV_STORE_DIR")
    try:
        inner = sorted(os.listdir(folder))
    except OSError:
        inner = []
    return check_host_folder("KV volume", folder, env, docker, inner)


def check_key(env: Mapping[str, str], docker: DockerInfo | None) -> CheckResult:
    """Checks the key that authenticates stored KV, and the key's folder."""
    folder = compose_path(env, "KV_KEY_DIR")
    found = check_host_folder("KV key", folder, env, docker)
    file = folder / "kv.key"
    if found.status is CheckStatus.GOOD and os.path.exists(file):
        return check_readable_file("KV key", file, ContainerUser.of(env)) or found
    return found


def check_results(env: Mapping[str, str], docker: DockerInfo | None) -> CheckResult:
    """Checks the folder of benchmark results.

    If the folder is the caller's own, a problem is only a NOTE: `./arena bench` can write there, the page cannot.
    """
    folder = compose_path(env, "RESULTS_DIR")
    found = check_host_folder("results", folder, env, docker)
    if found.status is CheckStatus.BAD and folder.is_dir() and folder.stat().st_uid == os.getuid() != 0:
        return replace(found, status=CheckStatus.NOTE)
    return found


def check_password(env: Mapping[str, str]) -> Iterator[CheckResult]:
    """Yields a result if the page cannot read its password's file."""
    if found := check_readable_file("password", compose_path(env, "UI_PASSWORD_FILE"), ContainerUser.of(env)):
        yield found


def check_host_folder(
    subject: str, folder: Path, env: Mapping[str, str], docker: DockerInfo | None, inner: Sequence[str] = ()
) -> CheckResult:
    """Checks that containers may write the folder and those of its subfolders `inner` that exist."""
    user, quoted = ContainerUser.of(env), shlex.quote(str(folder))
    if docker and docker.maps_users:
        return note(subject, f"{folder}: Docker maps users, so it cannot be said who may write it")
    try:
        if not folder.exists():  # otherwise Docker would create it as root
            make = f"sudo install -d -o {user.uid} -g {user.gid} {quoted}"
            advice = f"./arena up --docker makes it; before a plain docker compose up: {make}"
            return note(subject, f"{folder} is not there yet", advice)
        if not folder.is_dir():
            return bad(subject, f"{folder} is not a folder", "name another one in .env")
        folders = (folder, *(folder / name for name in inner if (folder / name).is_dir()))
        closed = next((path for path in folders if not user.may(path, WRITE)), None)
    except OSError as exc:
        return note(subject, f"{folder} cannot be looked at: {exc.strerror}")
    if closed is None:
        return good(subject, f"{folder} can be written")
    owner, advice = closed.stat(), f"sudo chmod -R u+rwX {quoted}"
    if owner.st_uid != user.uid:
        closed_to_its_owner = (owner.st_mode >> 6) & WRITE != WRITE
        advice = f"sudo chown -R {user} {quoted}" + (f" && {advice}" if closed_to_its_owner else "")
    fact = f"{closed} belongs to {owner.st_uid}:{owner.st_gid}, and the containers' user {user} cannot write it"
    return bad(subject, fact, advice)


def check_readable_file(subject: str, file: Path, user: ContainerUser) -> CheckResult | None:
    """Returns a result if the user cannot read the file, otherwise None."""
    try:
        if user.may(file, READ):
            return None
    except OSError as exc:
        return bad(subject, f"{file}: {exc.strerror}", "name an existing file, or none")
    quoted = shlex.quote(str(file))
    advice = f"sudo chown {user} {quoted} && sudo chmod 400 {quoted}"
    return bad(subject, f"the containers' user {user} cannot read {file}", advice)


def check_model(
    env: Mapping[str, str], docker: DockerInfo | None, get: HttpGet
) -> tuple[list[CheckResult], int | None]:
    """Checks MODEL for containers on GPUs. Also returns the size of its weights in bytes, None if unknown."""
    settings = _chosen_model(env, MODEL)
    if not is_hub_name(settings.model):
        result, size = _check_folder_model(Path(os.path.normpath(settings.model)), env)
        return [result], size
    recipe, results, weights = find_recipe(settings.model), list[CheckResult](), list[int | None]()
    repositories = {settings.model: settings.revision} | (recipe.companions if recipe else {})
    for name, revision in repositories.items():
        found, size = _check_hub_model(name, revision, env, docker, get)
        results += found
        weights.append(size)
    return results, None if None in weights else sum(size or 0 for size in weights)


def model_size(env: Mapping[str, str], weights: int | None) -> ModelSize | None:
    """Returns the size of MODEL on GPUs by its recipe, otherwise by its `weights` in bytes; None if both are unknown.

    A recipe goes first because a hub's weights may have parts that vLLM does not load.
    """
    settings = _chosen_model(env, MODEL)
    if recipe := find_recipe(settings.model):
        return ModelSize.of(recipe, settings)
    return None if weights is None else ModelSize(weights)


def check_l1(
    l1_gib: int, serde: str, model: ModelSize | None, docker: DockerInfo | None, setting: str, limit: str
) -> CheckResult:
    """Checks that containers and host have the memory for both L1, and that each has room for the longest prompt.

    `limit` is the value of the setting that limits the memory of the containers that have them.
    """
    total = 2 * l1_gib
    fact = f"the two lmcache engines' L1 takes {total} GiB of the host"
    if docker and 0 < docker.memory < total * GIB:
        return bad("L1", f"{fact}, which has {docker.memory / GIB:.1f}", "turn down L1_SIZE_GB in .env")
    if 0 < _memory_bytes(limit) <= l1_gib * GIB:
        fact = f"L1_SIZE_GB={l1_gib} does not fit into {setting}={limit}, and LMCache takes all of it"
        return bad("L1", fact, f"set {setting} in .env to some GiB more")
    copies = 1 if serde == "none" else 2
    if model and model.kv_per_token and (room := model.loadable(l1_gib, copies)) < model.context:
        fact += f"; a prompt of more than {room:,} tokens may be computed again, although it is stored"
        enough = f"L1_SIZE_GB={model.l1_gib(model.context, copies)} has room for {model.context:,}"
        return note("L1", fact, f"{enough}; set {setting} above it")
    return good("L1", fact)


def _memory_bytes(size: str) -> int:
    """Returns 0 if it is no size."""
    found = MEMORY.fullmatch(size.lower())
    return int(found[1]) << 10 * "bkmg".index(found[2] or "b") if found else 0


def check_generated_model(env: Mapping[str, str]) -> CheckResult:
    """Checks that MODEL is generated here, because containers on the CPU do not use the hub."""
    model = Path(_chosen_model(env, STAND_IN_MODEL).model)
    if is_generated(model, MODELS):
        return good("model", f"{model.name}, made where it is missing")
    fact = f"MODEL={model}, and containers on the CPU ask no hub"
    return bad("model", fact, f"set MODEL to {' or '.join(GENERATED_MODELS)}")


def _chosen_model(env: Mapping[str, str], default: str) -> Settings:
    """Returns the model's settings and sizes as containers on GPUs see them: generated models are below MODELS."""
    given = {name: env.get(name, "") for name in ("MODEL_REVISION", "DTYPE", "CHUNK_SIZE", "BLOCK_SIZE")}
    fixed = {"DEVICE": "cuda", "MODEL": env.get("MODEL") or default, "ARENA_HOME": str(MODELS.parent)}
    return Settings.from_env(given | fixed)


def _check_folder_model(folder: Path, env: Mapping[str, str]) -> tuple[CheckResult, int | None]:
    """Checks a model below MODEL_DIR, given by its path in containers, and returns its weights in bytes, or None."""
    if len(folder.parts) == 1:
        error = unknown_model_error(str(folder))
        return bad("model", error.fact, error.hint), None
    if not folder.is_relative_to(MODELS):
        fact = f"MODEL={folder} is neither a hub's owner/name nor below {MODELS}, all that containers see"
        advice = f"set MODEL_DIR in .env to the folder that holds it, and MODEL to {MODELS / (folder.name or 'NAME')}"
        return bad("model", fact, advice), None
    if is_generated(folder, MODELS):
        return good("model", f"{folder.name}, made where it is missing"), None
    if not env.get("MODEL_DIR"):
        fact = f"MODEL={folder}, but MODEL_DIR names no folder"
        return bad("model", fact, f"set MODEL_DIR in .env to the folder of {folder.name}"), None
    here = compose_path(env, "MODEL_DIR") / folder.relative_to(MODELS)
    try:
        check_folder(here)
    except (ConfigError, OSError) as exc:
        return bad("model", str(exc), f"{MODELS} in MODEL is MODEL_DIR here"), None
    return good("model", str(here)), hub.weights_bytes(here)


def _check_hub_model(
    name: str, revision: str, env: Mapping[str, str], docker: DockerInfo | None, get: HttpGet
) -> tuple[list[CheckResult], int | None]:
    cache = compose_path(env, "LOCAL_HF_HOME") / "hub"
    if kept := hub.cached_model(name, cache, revision):
        return [good("model", f"{name} is in {cache}")], hub.weights_bytes(kept)
    token, results = _read_token(env)
    access = hub.check_access(name, token, revision, get)
    results.append(check_hub_access(name, access))
    if not (docker and docker.maps_users):
        inner = (".locks", f"models--{name.replace('/', '--')}")
        results.append(check_host_folder("hub cache", cache, env, docker, inner))
    results += check_download_room(cache, access)
    return results, access.weights


def check_hub_access(name: str, access: HubAccess) -> CheckResult:
    """Returns a result with advice on the hub's answer."""
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
        return good("model", f"{name} {access.answer}")
    if access.answer is HubStatus.UNREACHABLE:
        return note("model", f"{name}: {access.answer} ({access.said})", advice[access.answer])
    return bad("model", f"{name}: {access.answer}", advice[access.answer])


def _read_token(env: Mapping[str, str]) -> tuple[str, list[CheckResult]]:
    """Returns the token, empty if there is none, and a result if the containers or this user cannot read it."""
    file = compose_path(env, "HF_TOKEN_FILE")
    found = check_readable_file("token", file, ContainerUser.of(env))
    try:
        return file.read_text().strip(), [found] if found else []
    except (OSError, UnicodeDecodeError):
        return "", [found or note("token", f"only the containers can read {file}: asked without it")]


def check_download_room(cache: Path, access: HubAccess) -> list[CheckResult]:
    """Returns a result if the model does not fit on the cache's disk; none if it fits or its size is unknown."""
    free = shutil.disk_usage(nearest_existing(cache)).free
    if not access.weights or free >= access.weights:
        return []
    fact = f"{free / GIB:.1f} GiB free in {cache}, and the model takes {access.weights / GIB:.1f}"
    return [bad("hub cache", fact, "free some, or set LOCAL_HF_HOME to a larger disk")]
