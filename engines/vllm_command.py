"""The exact command line of each engine, for containers and processes alike."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from config.recipe import find_recipe
from config.settings import Settings
from config.topology import SERVED_MODEL_NAME, Engine
from engines.kv_connector import kv_transfer_config

PRELOADER = "ARENA_PRELOADER"  # variable of an engine with the path of the preloader's socket (engines/preload.py)
# Nearly all that an engine imports on a CPU, but for LMCache, whose compiled functions do not survive a fork
PRELOADED = (
    *(f"vllm.entrypoints.cli.{name}" for name in ("main", "benchmark.main", "launch", "preload", "run_batch", "serve")),
    *("vllm.v1.engine.async_llm", "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """An argument list, and the environment variables that it needs in addition to the caller's."""

    argv: tuple[str, ...]
    env: Mapping[str, str]

    def __str__(self) -> str:
        """Returns the command quoted for a shell."""
        return " ".join([*(f"{key}={shlex.quote(value)}" for key, value in self.env.items()), shlex.join(self.argv)])

    def exec(self) -> NoReturn:
        """Replaces this process with the command, so that signals reach it directly; with its fork, if there is one."""
        env = {**os.environ, **self.env}
        preloader = env.pop(PRELOADER, "")
        forked = (sys.executable, "-S", "-m", "engines.forked", preloader) if preloader else ()
        argv = (*forked, *self.argv)
        os.execvpe(argv[0], argv, env)  # noqa: S606


def vllm_command(engine: Engine, settings: Settings, namespace: Path | None = None) -> Command:
    """Returns the command of one vLLM server; `namespace` as in `kv_transfer_config`.

    The two kinds of engine differ only in the connector, so that a comparison shows the effect of nothing else. Raises
    ConfigError if the model's own code would be run without a pinned commit, and as `kv_transfer_config` does.
    """
    argv = ["vllm", "serve", settings.model, "--served-model-name", SERVED_MODEL_NAME]
    argv += ["--host", settings.bind_host, "--port", str(engine.port)]
    argv += ["--disable-access-log-for-endpoints", "/health,/metrics"]
    argv += ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-per-request-metrics"]
    if settings.kv_cache_memory_gb:
        argv += ["--kv-cache-memory-bytes", str(int(settings.kv_cache_memory_gb * 2**30))]
        if settings.device == "cuda":
            # vLLM starts only if this share of the GPU is free; it is small because engines may share a GPU
            argv += ["--gpu-memory-utilization", "0.05"]
    argv += [*_model(settings), "--allowed-media-domains", *(settings.media_domains or [NO_MEDIA_DOMAIN])]
    argv += ["--dtype", served_dtype(settings)]
    argv += ["--block-size", str(settings.block_size)] if settings.block_size else []
    if settings.device == "cpu":
        argv += ["--enforce-eager", "--distributed-executor-backend", "uni"]
    if engine.store:
        argv += ["--kv-transfer-config", json.dumps(kv_transfer_config(engine, settings, namespace))]
    env = {**_QUIET, "HF_HOME": str(settings.local_hf_home)}
    return Command(tuple(argv), env | _CPU if settings.device == "cpu" else env)


# An empty list would allow every host. This name is reserved (RFC 2606) and never resolves, so engines fetch nothing.
NO_MEDIA_DOMAIN = "media.invalid"


def _model(settings: Settings) -> list[str]:
    """Returns the arguments of the model's recipe, if it has one, and of the hub's commit, if one is chosen."""
    revision, recipe = settings.revision, find_recipe(settings.model)
    argv = [w for kind in ("", "code-", "tokenizer-") for w in (f"--{kind}revision", revision)] if revision else []
    return [*argv, *(recipe.arguments(revision) if recipe else ())]


# The same for every engine: LMCache's keys need one hash seed, and no usage is reported.
_QUIET = {
    "PYTHONHASHSEED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "LMCACHE_TRACK_USAGE": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",  # otherwise an allowed host could redirect to any other host
}


# For malloc and torch: without huge pages, page placement alone made two equal engines differ by 14 % in start time
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

# One thread for each core, not pinned: four engines share the cores, and only one computes at a time.
_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
    # with `--distributed-executor-backend uni`, the engine core computes itself instead of spinning while a worker does
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # the model is not compiled (--enforce-eager); but requests for log-probabilities or top-k sampling would compile a
    # function, and without a C++ compiler end the engine
    "TORCHDYNAMO_DISABLE": "1",
    **HUGE_PAGES,
}


def served_dtype(settings: Settings, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Returns the value of `--dtype`: DTYPE, but float32 instead of auto on an x86 CPU without AVX-512.

    Such a CPU emulates bfloat16: a product of 1,024 x 1,024 matrices took 2.3 s in bfloat16 and 0.02 s in float32.
    """
    if settings.dtype != "auto" or settings.device != "cpu":
        return settings.dtype
    flags = cpuinfo.read_text().split()
    return "float32" if "avx2" in flags and "avx512f" not in flags else "auto"
