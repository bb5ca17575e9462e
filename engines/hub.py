"""Checks whether the hub allows a model's download, and how much memory its weights need. Downloads no weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import requests
from pydantic import BaseModel, ValidationError

HUB = "https://huggingface.co"
TIMEOUT_S = (5, 10)  # for connecting, and between two reads
ANSWER_BYTES = 2**20  # upper limit of one response body
# Per weight on a GPU: vLLM casts wider floats to 16 bits. The hub does not give the size of integer-packed weights.
BYTES = {"F64": 2, "F32": 2, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}

HttpGet = Callable[..., requests.Response]


class HubStatus(StrEnum):
    """The hub's answer to a request for a model."""

    OPEN = "may be downloaded"
    MISSING = "no such model, or a private one"
    GATED = "gated, and no token is given"
    REJECTED = "the token is not valid"
    REFUSED = "the token has no access to it"
    UNREACHABLE = "the hub does not say"


@dataclass(frozen=True, slots=True)
class HubAccess:
    """`weights` is in bytes on a GPU, None if unknown; `said` is the reason if the hub is UNREACHABLE."""

    answer: HubStatus
    weights: int | None = None
    said: str = ""


class _Tensors(BaseModel):
    parameters: dict[str, int] = {}


class _Model(BaseModel):
    """The requested fields of https://huggingface.co/api/models/NAME."""

    gated: Literal[False, "auto", "manual"] = False
    safetensors: _Tensors | None = None


def check_access(model: str, token: str = "", revision: str = "", get: HttpGet = requests.get) -> HubAccess:
    """Requests the commit `revision`, or the newest if it is empty, as the downloader will.

    The token is sent to the hub only, because no redirect is followed. No message contains the token.
    """
    if not re.fullmatch(r"[!-~]*", token):  # such a token cannot be sent in a header
        return HubAccess(HubStatus.REJECTED)
    try:
        return _ask_hub(quote(model), token, revision or "main", get)
    except (requests.exceptions.ProxyError, requests.exceptions.InvalidSchema):
        return HubAccess(HubStatus.UNREACHABLE, said="through the proxy of HTTPS_PROXY or ALL_PROXY")
    except (requests.RequestException, ValidationError, ValueError) as exc:
        return HubAccess(HubStatus.UNREACHABLE, said=type(exc).__name__)


def _ask_hub(model: str, token: str, revision: str, get: HttpGet) -> HubAccess:
    status, body = _answer(get, f"{HUB}/api/models/{model}", token, {"expand[]": ["gated", "safetensors"]})
    if status != 200:
        return _refusal(status, token, HubStatus.MISSING)
    about = _Model.model_validate_json(body)
    status, _ = _answer(get, f"{HUB}/{model}/resolve/{revision}/config.json", token, read=False)
    if status == 200 or 300 <= status < 400:  # the hub redirects only callers who may download the file
        return HubAccess(HubStatus.OPEN, _weights(about.safetensors))
    return _refusal(status, token, HubStatus.GATED if about.gated else HubStatus.MISSING)


def _refusal(status: int, token: str, without_token: HubStatus) -> HubAccess:
    """HTTP 401 means a bad token or, if none was sent, a missing, private or gated model."""
    answers = {401: HubStatus.REJECTED if token else without_token, 403: HubStatus.REFUSED if token else without_token}
    answers[404] = HubStatus.MISSING
    return HubAccess(answers.get(status, HubStatus.UNREACHABLE), said=f"HTTP {status}")


def _answer(
    get: HttpGet, url: str, token: str, params: Mapping[str, list[str]] | None = None, *, read: bool = True
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with get(url, headers=headers, params=params, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as response:
        return response.status_code, _read(response) if read and response.status_code == 200 else b""


def _read(response: requests.Response) -> bytes:
    body = b""
    for piece in response.iter_content(2**16):
        body += piece
        if len(body) > ANSWER_BYTES:
            raise ValueError("too long an answer")
    return body


def _weights(tensors: _Tensors | None) -> int | None:
    parameters = tensors.parameters if tensors else {}
    if not parameters or parameters.keys() - BYTES.keys():
        return None
    return sum(BYTES[kind] * count for kind, count in parameters.items())


def cached_model(model: str, cache: Path, revision: str = "") -> Path | None:
    """Returns the model's folder in a hub cache if it has a config and weights; None if it must be downloaded.

    Without a `revision`, any snapshot is accepted.
    """
    snapshots = f"models--{model.replace('/', '--')}/snapshots/{revision or '*'}"
    for config in sorted(cache.glob(f"{snapshots}/config.json")):
        if any(config.parent.glob("*.safetensors")):
            return config.parent
    return None


def weights_bytes(folder: Path) -> int:
    """Returns the bytes that the weights in a model's folder occupy on a GPU."""
    files = {path for path in folder.glob("*.safetensors") if path.is_file()}
    served = {path for path in files if not path.name.startswith("consolidated")} or files  # a duplicate
    size = sum(path.stat().st_size for path in served)
    return size // 2 if _is_float32(folder / "config.json") else size


def _is_float32(config: Path) -> bool:
    try:
        about = json.loads(config.read_text())
        return "float32" in (about.get("dtype"), about.get("torch_dtype"))
    except (OSError, ValueError, AttributeError):
        return False
