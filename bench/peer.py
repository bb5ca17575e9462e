"""Does our client measure what `vllm bench serve` measures, and does measuring cost no more?

Both clients send the same texts, each behind a nonce of its own, to the same engine, one in flight, in blocks that
alternate (ours, theirs, theirs, ours). CPU time is that of the client's process from its first request to its result,
as it says itself when these come (so theirs holds its own summing-up); starting Python is in neither. The counters that
we read around each request, outside its clock, are left out: theirs reads none.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.run import uncounted
from bench.study import QUESTION
from engines.document import HANDBOOK, of_length, read_document
from engines.errors import ConfigError, StackError
from engines.prompt import Message, Prompt, new_nonce
from engines.settings import Settings, home_of
from engines.topology import Engine

BEGINS, ENDS = "Starting main benchmark run", "Serving Benchmark Result"  # lines of `vllm bench serve`
ORDER = ("arena", "vllm", "vllm", "arena")


class OneMessage(Prompt):
    """The whole prompt as the user's message: all that a custom dataset of `vllm bench serve` can say."""

    @property
    def messages(self) -> list[Message]:
        """One."""
        return [{"role": "user", "content": f"{self.nonce} {self.document}\n\n{self.question}"}]


@dataclass(frozen=True, slots=True)
class Block:
    """Requests of one client in a row: TTFT of each in seconds, and CPU seconds of all."""

    client: str
    ttfts: tuple[float, ...]
    cpu_s: float


async def run(
    engine: Engine,
    settings: Settings,
    input_len: int,
    output_len: int,
    block: int,
    rounds: int,
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Raises ConfigError where `vllm` is not installed, StackError when it fails."""
    vllm = _vllm()
    whole = OneMessage(QUESTION, read_document(HANDBOOK), new_nonce(), output_len, ignore_eos=True)
    prompt = await of_length(engine, whole, input_len)
    say("one request of each client first, which is not counted")
    await _ours(engine, prompt, 1)
    await asyncio.to_thread(_theirs, vllm, engine, settings, prompt, 1)
    blocks = list[Block]()
    for number, client in enumerate(ORDER * rounds, 1):
        say(f"{number}/{len(ORDER) * rounds} {client}: {block} requests")
        if client == "arena":
            blocks.append(await _ours(engine, prompt, block))
        else:
            blocks.append(await asyncio.to_thread(_theirs, vllm, engine, settings, prompt, block))
    return summary(blocks)


def summary(blocks: Sequence[Block]) -> dict[str, Any]:
    """Medians over all requests of each client, and their ratio."""
    ours, theirs = (_client([b for b in blocks if b.client == name]) for name in ("arena", "vllm"))
    return {
        "kind": "peer",
        "arena": ours,
        "vllm_bench_serve": theirs,
        "median_ttft_ratio": ours["median_ttft_ms"] / theirs["median_ttft_ms"],
    }


def _client(blocks: Sequence[Block]) -> dict[str, Any]:
    ttfts = [ttft for block in blocks for ttft in block.ttfts]
    return {
        "completed": len(ttfts),
        "median_ttft_ms": 1e3 * median(ttfts),
        "min_ttft_ms": 1e3 * min(ttfts),
        "max_ttft_ms": 1e3 * max(ttfts),
        "cpu_ms_per_request": 1e3 * sum(block.cpu_s for block in blocks) / len(ttfts),
        "ttfts": ttfts,
    }


async def _ours(engine: Engine, prompt: Prompt, count: int) -> Block:
    began = time.process_time()
    ttfts = [(await uncounted(engine, _anew(prompt))).ttft for _ in range(count)]
    return Block("arena", tuple(ttfts), time.process_time() - began)


def _theirs(vllm: Path, engine: Engine, settings: Settings, prompt: Prompt, count: int) -> Block:
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"prompt": _anew(prompt).messages[0]["content"]} for _ in range(count)]
        (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [str(vllm), "bench", "serve", *_arguments(engine, settings, prompt, count, folder)]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **_ENVIRON}
        )
        said, cpu_s = _watched(child)
        if child.returncode or cpu_s is None:
            raise StackError(f"vllm bench serve failed: {said[-300:]}")
        result = json.loads((folder / "result.json").read_text())
        if result["completed"] != count:
            raise StackError(f"vllm bench serve completed {result['completed']} of {count} requests")
        return Block("vllm", tuple(result["ttfts"]), cpu_s)


def _watched(child: subprocess.Popen[str]) -> tuple[str, float | None]:
    """What it said till its end, and its CPU seconds from its first request to its result, where it told of both."""
    assert child.stdout
    process, said, marks = psutil.Process(child.pid), list[str](), list[float]()
    with child:
        for line in child.stdout:
            said.append(line)
            if BEGINS in line or ENDS in line:
                times = process.cpu_times()
                marks.append(times.user + times.system)
    return "".join(said), marks[1] - marks[0] if len(marks) == 2 else None


def _arguments(engine: Engine, settings: Settings, prompt: Prompt, count: int, folder: Path) -> list[str]:
    """One in flight, nothing sent before the first measured request, the same sampling as ours."""
    given = {
        "backend": "openai-chat",
        "endpoint": "/v1/chat/completions",
        "base-url": engine.url,
        "model": settings.model,
        "served-model-name": engine.model,
        "dataset-name": "custom",
        "dataset-path": folder / "prompts.jsonl",
        "custom-output-len": prompt.max_tokens,
        "num-prompts": count,
        "max-concurrency": 1,
        "num-warmups": 0,
        "ready-check-timeout-sec": 0,
        "temperature": 0,
        "result-dir": folder,
        "result-filename": "result.json",
    }
    flags = ["--skip-chat-template", "--disable-shuffle", "--ignore-eos", "--save-result", "--save-detailed"]
    return [*(word for key, value in given.items() for word in (f"--{key}", str(value))), *flags, "--disable-tqdm"]


_ENVIRON = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"}


def _anew(prompt: Prompt) -> Prompt:
    return replace(prompt, nonce=new_nonce())


def _vllm() -> Path:
    found = home_of(os.environ) / "env" / "engines" / "bin" / "vllm"
    if not found.exists():
        raise ConfigError(f"{found} is not there: ./arena install")
    return found
