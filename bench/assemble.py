"""Builds a run's result from its samples and from what is known about the machine, the engines and the options."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.arm_summary import summarize_arm
from bench.experiment import Experiment
from bench.options import Options
from bench.preflight import PreflightResult
from bench.result import SCHEMA, Result
from bench.sample import Sample
from bench.speedup import interval_json
from config.settings import Settings
from config.topology import Topology
from engines.vllm_command import served_dtype, vllm_command

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """When, where and with which command a result was made.

    `duration` is the measuring time in seconds, over all resumptions. `stack` is the configuration that the engines
    were started with; it is empty if that is unknown.
    """

    run_id: str
    date: str
    command: str
    duration: float
    preflight: PreflightResult
    host: Mapping[str, Any]
    stack: Mapping[str, Any]


def partial_result(options: Options, origin: RunOrigin, samples: Sequence[Sample]) -> dict[str, Any]:
    """The header and every sample, as JSON, from which a killed run can be resumed. It contains no statistics."""
    why = "this run was killed before its samples were summed up: go on with --resume"
    return {
        **_header(options, origin, samples, complete=False),
        "comparison": {"verdict": "no claim", "why": why, "speedup": interval_json(None, options.confidence_level)},
        "warnings": [why],
        "samples": [_sample_row(sample) for sample in samples],
    }


def assemble_result(
    study: Experiment, options: Options, origin: RunOrigin, samples: Sequence[Sample], *, complete: bool
) -> Result:
    """The common header, the arms, the experiment's own summary, the warnings, and every sample."""
    summarize = partial(
        summarize_arm,
        detailed=options.save_detailed,
        confidence_level=options.confidence_level,
        seed=options.seed,
    )
    return Result.model_validate(
        {
            **_header(options, origin, samples, complete=complete),
            "arms": {arm.name: summarize([s for s in samples if s.arm == arm.name]) for arm in study.arms},
            **study.summary(samples, options),
            "warnings": [*origin.preflight.mismatches, *origin.preflight.unchecked, *study.warnings(samples)],
            "samples": [_sample_row(sample) for sample in samples],
        }
    )


def _header(options: Options, origin: RunOrigin, samples: Sequence[Sample], *, complete: bool) -> dict[str, Any]:
    counted = sum(sample.valid for sample in samples)
    model = str(_first_fact(origin.preflight, "model") or "")
    versions = {
        "vllm": _first_fact(origin.preflight, "version"),
        "lmcache": _first_fact(origin.preflight, "lmcache_version"),
        "python": platform.python_version(),
    }
    return {
        "schema": SCHEMA,
        "kind": options.kind,
        "date": origin.date,
        "run_id": origin.run_id,
        "complete": complete,
        "command": origin.command,
        "label": options.label,
        "metadata": dict(options.metadata),
        "endpoint_type": "openai-chat",
        "backend": "openai-chat",
        "model_id": Path(model).name if Path(model).is_dir() else model,
        "tokenizer_id": model,
        "num_prompts": len(options.input_lens),
        "input_len": max(options.input_lens),
        "output_len": options.output_len,
        "seed": options.seed,
        "num_warmups": options.num_warmups,
        "max_concurrency": 1,
        "request_rate": "inf",
        "confidence_level": options.confidence_level,
        "duration": origin.duration,
        "completed": counted,
        "failed": len(samples) - counted,
        "versions": {name: version for name, version in versions.items() if version},
        "host": dict(origin.host),
        "stack": dict(origin.stack),
        "preflight": asdict(origin.preflight),
        "options": options.model_dump(mode="json"),
    }


def _first_fact(preflight: PreflightResult, name: str) -> Any:
    """The fact `name` from the first engine that reports it; None if none does."""
    return next((facts[name] for facts in preflight.engines.values() if facts.get(name)), None)


def _sample_row(sample: Sample) -> dict[str, Any]:
    """The sample as JSON; log-probabilities are left out if it has none."""
    return sample.model_dump(mode="json", exclude=set() if sample.logprobs else {"logprobs"})


def host_info() -> dict[str, Any]:
    """Facts about the machine that sends the requests; the engines may run elsewhere."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "gpus": _gpus(),
    }


def stack_info(settings: Settings) -> dict[str, Any]:
    """Settings of the arena's engines that may affect the measurements. Only these are recorded; none is a secret.

    Revision, dtype and hash seed come from the settings, because engines do not report them over HTTP.
    """
    return {
        "model": settings.model,
        "revision": settings.revision or None,
        "dtype": served_dtype(settings),
        "hash_seed": vllm_command(Topology.of(settings).engines[0], settings).env["PYTHONHASHSEED"],
        "device": settings.device,
        "kv_cache_memory_gb": settings.kv_cache_memory_gb,
        "kv_serde": settings.kv_serde,
        "kv_connector": settings.kv_connector,
        "l1_size_gb": settings.l1_size_gb,
        "chunk_size": settings.chunk_size,
        "block_size": settings.block_size,
    }


def _gpus(command: Sequence[str] = NVIDIA_SMI) -> list[str]:
    """One line for each GPU; an empty list if the command is missing or fails."""
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.splitlines() if line.strip()]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
