"""The variables that a service of the stack starts with: nothing else of the caller's environment is handed on.

A cache server's HTTP side prints its environment to every client (`/env`), and so may a library's error report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
LOGIN_IN_ADDRESS = re.compile(r"//[^/@\s]*:[^/@\s]*@")

# Where programs, libraries and files are, the language and time zone: for supervisord and everything that it starts.
SYSTEM = ("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TZ")
LANGUAGE = ("LANG", "LANGUAGE", "LC_*")

# A way to the outside: for a service that fetches something there.
PROXIES = tuple(
    f(name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for f in (str.upper, str.lower)
)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

# What an operator may tune of malloc, torch, its compilers and GPUs: for engines and cache servers.
TENSORS = (
    *("LD_PRELOAD", "MALLOC_*", "GLIBC_TUNABLES", "OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*"),
    *("TORCH_*", "TORCHINDUCTOR_*", "PYTORCH_*", "TRITON_*", "FLASHINFER_*", "CC", "CXX"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*"),
)
# What vLLM, its connector and the hub's library read; the name with TOKEN in it belongs to a thread pool.
VLLM = ("VLLM_*", "LMCACHE_*", "HF_HUB_*", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM")
# Gradio's, for a page behind a proxy or with a small /tmp; and where benchmarks leave their results.
PAGE = ("GRADIO_ROOT_PATH", "GRADIO_TEMP_DIR", "RESULTS_DIR")

# Settings (config/settings.py), by what they are about.
WHERE = ("ENGINES", "ENGINE_PORT", "CACHE_PORT", "UI_PORT", "BIND_HOST")
MODEL = ("MODEL", "MODEL_REVISION", "LOCAL_HF_HOME", "DEVICE", "DTYPE")
VOLUME = ("KV_STORE_DIR", "KV_KEY_FILE", "KV_SERDE", "L1_SIZE_GB")
SECRET_SETTINGS = ("HF_TOKEN", "UI_PASSWORD")  # the one service that needs one gets the name of a file


class ServiceRole(StrEnum):
    """What a service does, and so what it needs."""

    ENGINE = "engine"
    CACHE = "cache"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class ServiceVariables:
    """`settings` by name, all but secrets if empty; `callers` are the caller's variables, `NAME` or `PREFIX_*`."""

    settings: tuple[str, ...]
    callers: tuple[str, ...]
    outside: tuple[str, ...] = ()  # more of the caller's, for a service that fetches something


VARIABLES_BY_ROLE = {
    ServiceRole.ENGINE: ServiceVariables(
        (*WHERE, *MODEL, "CACHE_URL", "KV_CACHE_MEMORY_GB", "ALLOWED_MEDIA_DOMAINS"),
        (*TENSORS, *VLLM),
        (*PROXIES, *CERTIFICATES, "HF_ENDPOINT"),
    ),
    ServiceRole.CACHE: ServiceVariables((*WHERE, *MODEL, *VOLUME), (*TENSORS, "LMCACHE_*")),
    # it downloads media from addresses, past any proxy, and shows what the other services were started with
    ServiceRole.PAGE: ServiceVariables((), (*PAGE, *CERTIFICATES)),
}


def supervisor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What supervisord itself starts with, and every service inherits."""
    return _select(environ, (*SYSTEM, *LANGUAGE))


def service_environment(
    role: ServiceRole, environ: Mapping[str, str], settings: Mapping[str, str], *, fetches: bool
) -> dict[str, str]:
    """What one service gets in addition, of the caller's variables and of the settings. `fetches` from the outside."""
    needs = VARIABLES_BY_ROLE[role]
    chosen = {
        key: value
        for key, value in settings.items()
        if key not in SECRET_SETTINGS and (key in needs.settings or not needs.settings)
    }
    return _select(environ, needs.callers + (needs.outside if fetches else ())) | chosen


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is secret."""
    return bool(SECRET.search(name))


def _select(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    """The variables of these names; by a prefix only where neither name nor value looks like a secret."""
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return {
        key: value
        for key, value in environ.items()
        if key in patterns or (key.startswith(prefixes) and not is_secret(key) and not LOGIN_IN_ADDRESS.search(value))
    }
