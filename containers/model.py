"""Whether the containers can have MODEL: from the hub, from its cache, or from a folder of the host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from containers.daemon import Daemon
from containers.folders import User, on_host, readable, writable
from engines import hub
from engines.errors import ConfigError
from engines.finding import Finding, Verdict
from engines.footprint import GIB, existing
from engines.hub import Access, Answer, Get
from engines.model import MADE_BY, check, is_made_here
from engines.recipe import find, is_on_hub, unknown
from engines.settings import EMBEDDED_MODEL, Settings

MODEL = "mistralai/Mistral-7B-Instruct-v0.2"  # as docker-compose.yml has it
MODELS = Path("/models")  # where containers see MODEL_DIR


def examine(env: Mapping[str, str], daemon: Daemon | None, get: Get) -> tuple[tuple[Finding, ...], int | None]:
    """What there is to say of MODEL, and its weights in bytes, None where unknown."""
    settings = chosen(env, MODEL)
    if not is_on_hub(settings.model):
        return _folder(Path(os.path.normpath(settings.model)), env)
    recipe, findings, weights = find(settings.model), list[Finding](), list[int | None]()
    repositories = {settings.model: settings.revision} | (recipe.companions if recipe else {})
    for name, revision in repositories.items():
        found, size = _on_hub(name, revision, env, daemon, get)
        findings.extend(found)
        weights.append(size)
    return tuple(findings), None if None in weights else sum(size or 0 for size in weights)


def chosen(env: Mapping[str, str], default: str) -> Settings:
    """The choice of MODEL and MODEL_REVISION, as containers see it: those made here lie below MODELS."""
    given = {"MODEL": env.get("MODEL") or default, "MODEL_REVISION": env.get("MODEL_REVISION", "")}
    return Settings.from_env({**given, "ARENA_HOME": str(MODELS.parent)})


def on_cpu(env: Mapping[str, str]) -> Finding:
    """Containers on the CPU ask no hub: their model is one that is made here."""
    model = Path(chosen(env, EMBEDDED_MODEL).model)
    if is_made_here(model, MODELS):
        return Finding("model", Verdict.GOOD, f"{model.name}, made where it is missing")
    names = " or ".join(MADE_BY)
    return Finding(
        "model", Verdict.BAD, f"MODEL={model}, and containers on the CPU ask no hub", f"set MODEL to {names}"
    )


def _on_hub(
    name: str, revision: str, env: Mapping[str, str], daemon: Daemon | None, get: Get
) -> tuple[tuple[Finding, ...], int | None]:
    cache = on_host(env, "LOCAL_HF_HOME", "~/.cache/huggingface") / "hub"
    if kept := hub.cached(name, cache, revision):
        return (Finding("model", Verdict.GOOD, f"{name} is in {cache}"),), hub.weights_in(kept)
    token, trouble = _token(env)
    answer = hub.access(name, token, revision, get)
    findings = [*trouble, _heard(name, answer)]
    if not (daemon and daemon.maps_users):
        inner = (".locks", f"models--{name.replace('/', '--')}")
        findings.append(writable("hub cache", cache, User.of(env), inner=inner, made_by_up=True))
    findings.extend(_download(cache, answer))
    return tuple(findings), answer.weights


def _folder(folder: Path, env: Mapping[str, str]) -> tuple[tuple[Finding, ...], int | None]:
    """A model that lies below MODEL_DIR, as containers name it."""
    if len(folder.parts) == 1:
        error = unknown(str(folder))
        return (Finding("model", Verdict.BAD, error.fact, error.hint),), None
    if not folder.is_relative_to(MODELS):
        fact = f"MODEL={folder} is neither a hub's owner/name nor below {MODELS}, all that containers see"
        advice = f"set MODEL_DIR in .env to the folder that holds it, and MODEL to {MODELS / (folder.name or 'NAME')}"
        return (Finding("model", Verdict.BAD, fact, advice),), None
    if is_made_here(folder, MODELS):
        return (Finding("model", Verdict.GOOD, f"{folder.name}, made where it is missing"),), None
    if not env.get("MODEL_DIR"):
        fact = f"MODEL={folder}, but MODEL_DIR names no folder"
        return (Finding("model", Verdict.BAD, fact, f"set MODEL_DIR in .env to the folder of {folder.name}"),), None
    here = on_host(env, "MODEL_DIR", "") / folder.relative_to(MODELS)
    try:
        check(here)
    except (ConfigError, OSError) as exc:
        return (Finding("model", Verdict.BAD, str(exc), f"{MODELS} in MODEL is MODEL_DIR here"),), None
    return (Finding("model", Verdict.GOOD, str(here)),), hub.weights_in(here)


def _heard(name: str, access: Access) -> Finding:
    """What to do about the hub's answer."""
    where = f"{hub.HUB}/{name}"
    advice = {
        Answer.MISSING: f"check MODEL in .env against {hub.HUB}; a private model needs a token (HF_TOKEN_FILE)",
        Answer.GATED: f"accept its terms at {where}, and name a file with a token of that account in HF_TOKEN_FILE",
        Answer.REJECTED: f"make a new one at {hub.HUB}/settings/tokens, for the file that HF_TOKEN_FILE names",
        Answer.REFUSED: f"accept its terms at {where} with the token's account, and let a fine-grained token read "
        "public gated repositories",
        Answer.UNREACHABLE: "a start needs the hub, unless the model is in LOCAL_HF_HOME: check the network",
    }
    if access.answer is Answer.OPEN:
        return Finding("model", Verdict.GOOD, f"{name} {access.answer}")
    verdict = Verdict.NOTE if access.answer is Answer.UNREACHABLE else Verdict.BAD
    said = f" ({access.said})" if access.answer is Answer.UNREACHABLE else ""
    return Finding("model", verdict, f"{name}: {access.answer}{said}", advice[access.answer])


def _token(env: Mapping[str, str]) -> tuple[str, tuple[Finding, ...]]:
    """The token, or empty; and what keeps the containers from reading it."""
    file = on_host(env, "HF_TOKEN_FILE", "/dev/null")
    trouble = readable("token", file, User.of(env))
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        token = ""
        trouble = trouble or Finding("token", Verdict.NOTE, f"only the containers can read {file}: asked without it")
    return token, (trouble,) if trouble else ()


def _download(cache: Path, access: Access) -> Iterator[Finding]:
    free = shutil.disk_usage(existing(cache)).free
    if access.weights and free < access.weights:
        fact = f"{free / GIB:.1f} GiB free in {cache}, and the model takes {access.weights / GIB:.1f}"
        yield Finding("hub cache", Verdict.BAD, fact, "free some, or set LOCAL_HF_HOME to a larger disk")
