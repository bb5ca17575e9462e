"""Chooses the environment variables of each service; nothing else from the caller's environment is passed on.

The HTTP server of an LMCache server shows its environment to every client (`/env`), and a library's error report may do
the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
LOGIN_IN_ADDRESS = re.compile(r"//[^/@\s]*:[^/@\s]*@")

# Paths of programs, libraries and files, language and time zone: for supervisord and everything that it starts.
SYSTEM = ("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TZ")
LANGUAGE = ("LANG", "LANGUAGE", "LC_*")

# Access to the internet: for a service that downloads something.
PROXIES = tuple(
    f(name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for f in (str.upper, str.lower)
)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

# Tuning of malloc, torch, its compilers and GPUs: for engines and cache servers.
TENSORS = (
    *("LD_PRELOAD", "MALLOC_*", "GLIBC_TUNABLES", "OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*"),
    *("TORCH_*", "TORCHINDUCTOR_*", "PYTORCH_*", "TRITON_*", "FLASHINFER_*", "CC", "CXX"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*"),
)
# Read by vLLM, its KV connector and the hub's libraries. TOKENIZERS_PARALLELISM is not a secret: it sets a thread pool.
VLLM = ("VLLM_*", "LMCACHE_*", "HF_HUB_*", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM")
# Gradio's variables for a page behind a proxy or with a small /tmp, and the folder of benchmark results.
PAGE = ("GRADIO_ROOT_PATH", "GRADIO_TEMP_DIR", "RESULTS_DIR")

# Settings (config/settings.py), grouped by topic.
WHERE = ("ENGINES", "ENGINE_PORT", "CACHE_PORT", "UI_PORT", "BIND_HOST")
MODEL = ("MODEL", "MODEL_REVISION", "LOCAL_HF_HOME", "DEVICE", "DTYPE")
CONNECTOR = ("KV_CONNECTOR", "KV_SERDE", "CHUNK_SIZE", "BLOCK_SIZE")
VOLUME = ("KV_STORE_DIR", "KV_KEY_FILE", "L1_SIZE_GB")
SECRET_SETTINGS = ("HF_TOKEN", "UI_PASSWORD")  # never passed on; a service that needs one gets the name of a file


class ServiceRole(StrEnum):
    """What a service does, which decides the variables that it needs."""

    ENGINE = "engine"
    CACHE = "cache"
    KEEPER = "keeper"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class ServiceVariables:
    """Names of the variables of one role; `callers` and `outside` may also be prefixes, as `PREFIX_*`.

    Empty `settings` means all settings except secrets.
    """

    settings: tuple[str, ...]
    callers: tuple[str, ...]  # from the caller's environment
    outside: tuple[str, ...] = ()  # also from there, only for a service that downloads something


VARIABLES_BY_ROLE = {
    ServiceRole.ENGINE: ServiceVariables(
        (*WHERE, *MODEL, *CONNECTOR, "CACHE_URL", "KV_CACHE_MEMORY_GB", "ALLOWED_MEDIA_DOMAINS"),
        (*TENSORS, *VLLM),
        (*PROXIES, *CERTIFICATES, "HF_ENDPOINT"),
    ),
    ServiceRole.CACHE: ServiceVariables((*WHERE, *MODEL, *CONNECTOR, *VOLUME), (*TENSORS, "LMCACHE_*")),
    ServiceRole.KEEPER: ServiceVariables(("KV_STORE_DIR", "KV_MAX_GB", "KV_KEY_FILE"), ()),
    # the page downloads media without a proxy, and shows the settings of all services
    ServiceRole.PAGE: ServiceVariables((), (*PAGE, *CERTIFICATES)),
}


def supervisor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of supervisord, which every service inherits."""
    return _select(environ, (*SYSTEM, *LANGUAGE))


def service_environment(
    role: ServiceRole, environ: Mapping[str, str], settings: Mapping[str, str], *, fetches: bool
) -> dict[str, str]:
    """Returns the variables that one service gets in addition to supervisord's, from the caller and the settings.

    `fetches` means that the service downloads something from the internet.
    """
    needs = VARIABLES_BY_ROLE[role]
    chosen = {
        key: value
        for key, value in settings.items()
        if key not in SECRET_SETTINGS and (key in needs.settings or not needs.settings)
    }
    return _select(environ, needs.callers + (needs.outside if fetches else ())) | chosen


def is_secret(name: str) -> bool:
    """Returns whether a variable's name suggests that its value is a secret."""
    return bool(SECRET.search(name))


def _select(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    """Selects variables by name, or by prefix if neither name nor value looks like a secret."""
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return {
        key: value
        for key, value in environ.items()
        if key in patterns or (key.startswith(prefixes) and not is_secret(key) and not LOGIN_IN_ADDRESS.search(value))
    }
