"""What a run leaves: one JSON object, in the words of `vllm bench serve`, written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

from bench.ttft import ARMS, Sample, median_or_none, speedups
from cache.volume import VERSIONS
from engines.errors import ConfigError
from engines.settings import Settings


def result(samples: Sequence[Sample], settings: Settings, num_prompts: int, input_len: int) -> dict[str, Any]:
    """Arms under their names, each as one result of `vllm bench serve`; the comparison; and every sample."""
    ratios = speedups(samples)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model_id": Path(settings.model).name if Path(settings.model).is_dir() else settings.model,
        "num_prompts": num_prompts,
        "input_len": input_len,
        "max_concurrency": 1,
        "versions": {**VERSIONS, "python": platform.python_version()},
        "host": {"machine": platform.machine(), "cpus": len(os.sched_getaffinity(0))},
        "comparison": {
            "of": "cross_read",
            "over": "cold",
            "speedup": {
                "median": median_or_none(ratios),
                "min": min(ratios, default=None),
                "max": max(ratios, default=None),
                "n": len(ratios),
            },
        },
        "arms": {arm.name: arm_result([s for s in samples if s.arm == arm.name]) for arm in ARMS},
        "samples": [sample_row(sample) for sample in samples],
    }


def arm_result(samples: Sequence[Sample]) -> dict[str, Any]:
    """Milliseconds in the flat fields, seconds in the arrays, as vLLM has them; valid samples only."""
    replies = [s.reply for s in samples if s.valid and s.reply]
    fields: dict[str, Any] = {
        "completed": len(replies),
        "failed": len(samples) - len(replies),
        "total_input_tokens": sum(r.usage.prompt_tokens for r in replies),
        "total_output_tokens": sum(r.usage.completion_tokens for r in replies),
        "total_cached_tokens": sum(r.usage.cached_tokens for r in replies),
        "ttfts": [r.ttft for r in replies],
        "itls": [list(r.itl) for r in replies],
        "input_lens": [r.usage.prompt_tokens for r in replies],
        "output_lens": [r.usage.completion_tokens for r in replies],
    }
    fields |= _flat("ttft", [r.ttft for r in replies])
    fields |= _flat("tpot", [r.tpot for r in replies if r.tpot is not None])
    fields |= _flat("itl", [gap for r in replies for gap in r.itl])
    fields |= _flat("e2el", [r.e2el for r in replies])
    return fields


def sample_row(sample: Sample) -> dict[str, Any]:
    """One sample, with its reply's fields where it has one."""
    reply = sample.reply.to_json() if sample.reply else {}
    return {
        "document": sample.document,
        "arm": sample.arm,
        "valid": sample.valid,
        "reason": sample.reason,
        **reply,
    }


def check(path: Path | None) -> None:
    """Raises ConfigError, before anything is measured, when no result could be written there."""
    try:
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a"):
                pass
    except OSError as exc:
        raise ConfigError(f"--json {path} cannot be written: {exc.strerror}") from exc


def write(path: Path, content: Mapping[str, Any]) -> None:
    """A reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def _flat(metric: str, seconds: Sequence[float]) -> dict[str, float | None]:
    ms = [value * 1e3 for value in seconds]
    return {
        f"mean_{metric}_ms": fmean(ms) if ms else None,
        f"median_{metric}_ms": median(ms) if ms else None,
        f"std_{metric}_ms": pstdev(ms) if ms else None,
    }
