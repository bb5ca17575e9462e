"""Does this client measure what `vllm bench serve` measures, with no more CPU time?

Both clients send the same text, each time with a new nonce, to the same engine, with one request in flight, in
alternating blocks (ours, theirs, theirs, ours). CPU time is that of the client's process from its first request to its
result. For vLLM's client these moments are taken from the lines that it prints, so its CPU time includes computing the
summary; neither includes starting Python. Our client reads no counters here, because vLLM's client reads none.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.arms import Arm, EngineRole, always_valid
from bench.experiment import Experiment, OnProgressLine
from bench.measure import MeasureContext, PromptOf
from bench.options import QUESTION, Options
from bench.plan import EngineRoles, SampleKey, Trial, TrialStep
from bench.result import Result
from bench.sample import Sample
from bench.speedup import compare_arms
from client.documents import HANDBOOK, read_document
from client.prompt import Message, Prompt, new_nonce
from config.errors import ConfigError, StackError
from config.paths import arena_home
from config.settings import Settings
from config.topology import Engine

BEGINS, ENDS = "Starting main benchmark run", "Serving Benchmark Result"  # lines of `vllm bench serve`
OURS, THEIRS = Arm("arena", EngineRole.PLAIN, always_valid), Arm("vllm_bench_serve", EngineRole.PLAIN, always_valid)
SECRETS = ("OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "UI_PASSWORD")
ORDER = ((OURS, 0), (THEIRS, 0), (THEIRS, 1), (OURS, 1))  # of a round: the client, and its first or second block

Times = tuple[Sequence[float], float]  # TTFT of each request in seconds, and CPU seconds of all requests together
SendPrompts = Callable[[Engine, Prompt, int], Times]


class SingleMessagePrompt(Prompt):
    """A prompt sent as a single user message, the only form that custom datasets of `vllm bench serve` support."""

    @property
    def messages(self) -> list[Message]:
        return [{"role": "user", "content": f"{self.nonce} {self.document}\n\n{self.question}"}]


@dataclass(frozen=True, slots=True)
class ClientBlock:
    """Consecutive requests of one client."""

    arm: Arm
    engine: Engine
    input_len: int
    documents: range

    @property
    def rows(self) -> tuple[SampleKey, ...]:
        return tuple((document, self.arm.name, self.input_len) for document in self.documents)

    @property
    def title(self) -> str:
        return f"{self.arm.name}: {len(self.documents)} requests"


def study(options: Options, roles: EngineRoles, settings: Settings) -> Experiment:
    """The experiment: rounds of four blocks of `options.num_prompts` requests. Raises ConfigError without `vllm`."""
    engine = roles[EngineRole.PLAIN][0]
    theirs = partial(_theirs, _vllm(), settings)
    handbook = read_document(HANDBOOK)

    def prompt(nonce: str) -> Prompt:
        return SingleMessagePrompt(QUESTION, handbook, nonce, options.output_len, ignore_eos=True)

    async def start_once(say: OnProgressLine) -> None:
        say("one request of the other client, which is not counted")
        await asyncio.to_thread(theirs, engine, prompt(new_nonce()).about("Hello."), 1)

    return Experiment(
        arms=(OURS, THEIRS),
        units=blocks(options, engine),
        warmups=(Trial(-1, options.input_lens[0], (TrialStep(OURS, engine),)),) * options.num_warmups,
        prompt=prompt,
        summary=summary,
        measure=partial(measure_block, theirs),
        before_first=start_once,
    )


def blocks(options: Options, engine: Engine) -> tuple[ClientBlock, ...]:
    """The blocks for one pair per item of `input_lens`; requests of both clients with the same number are a pair."""
    size = options.num_prompts
    return tuple(
        ClientBlock(arm, engine, options.input_lens[0], range(start + half * size, start + (half + 1) * size))
        for start in range(0, len(options.input_lens), 2 * size)
        for arm, half in ORDER
    )


async def measure_block(
    theirs: SendPrompts, block: ClientBlock, ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
    """Measures a whole block undisturbed, then yields its samples. Raises EngineError, StackError."""
    prompt = await bench.fit_prompt(block.engine, ask_with(bench.nonce()), block.input_len)
    started_s, many = bench.clock() - began, len(block.documents)
    if block.arm is OURS:
        ttfts, cpu_s = await _ours(block.engine, prompt, many, bench)
    else:
        ttfts, cpu_s = await asyncio.to_thread(theirs, block.engine, prompt, many)
    for document, ttft in zip(block.documents, ttfts, strict=True):
        yield Sample(
            document=document,
            arm=block.arm.name,
            engine=block.engine.name,
            input_len=block.input_len,
            position=0,
            nonce="",
            started_s=started_s,
            ttft_ms=1e3 * ttft,
            cpu_ms=1e3 * cpu_s / many,
        )


def summary(samples: Sequence[Sample], options: Options) -> Mapping[str, Any]:
    """Compares both clients pair by pair, and by their faster halves, which a busy machine disturbs less."""
    level, seed = options.confidence_level, options.seed
    return {
        "comparison": compare_arms(samples, OURS.name, THEIRS.name, confidence_level=level, seed=seed),
        "peer": {
            "median_ttft_ratio": _ratio(samples, 1.0),
            "fastest_half_ttft_ratio": _ratio(samples, 0.5),
            "cpu_ms_per_request": {arm.name: _cpu_ms(samples, arm) for arm in (OURS, THEIRS)},
        },
    }


def holds(result: Result) -> bool:
    """Whether the two clients cannot be told apart."""
    return result.comparison.verdict == "not distinguishable"


def _ratio(samples: Sequence[Sample], share: float) -> float | None:
    """Median TTFT of our fastest requests divided by that of theirs; `share` is the part of the requests used."""
    medians = []
    for arm in (OURS, THEIRS):
        ttfts = sorted(s.ttft_ms for s in samples if s.arm == arm.name and s.ttft_ms is not None)
        medians.append(median(ttfts[: max(1, round(share * len(ttfts)))]) if ttfts else None)
    ours, theirs = medians
    return ours / theirs if ours and theirs else None


def _cpu_ms(samples: Sequence[Sample], arm: Arm) -> float | None:
    spent = [s.cpu_ms for s in samples if s.arm == arm.name and s.cpu_ms is not None]
    return fmean(spent) if spent else None


async def _ours(engine: Engine, prompt: Prompt, count: int, bench: MeasureContext) -> Times:
    began = time.process_time()
    ttfts = [(await bench.under_load(engine, _anew(prompt))).ttft for _ in range(count)]
    return ttfts, time.process_time() - began


def _theirs(vllm: Path, settings: Settings, engine: Engine, prompt: Prompt, count: int) -> Times:
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"prompt": _anew(prompt).messages[0]["content"]} for _ in range(count)]
        (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        command = [str(vllm), "bench", "serve", *_arguments(engine, settings, prompt, count, folder)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environ())
        printed, cpu_s = _watch(child)
        if child.returncode or cpu_s is None:
            raise StackError(f"vllm bench serve failed: {printed[-300:]}")
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if result["completed"] != count:
            raise StackError(f"vllm bench serve completed {result['completed']} of {count} requests")
        return result["ttfts"], cpu_s


def _watch(child: subprocess.Popen[str]) -> tuple[str, float | None]:
    """The client's output, and its CPU seconds between the lines that mark its first request and its result.

    The seconds are None if one of these lines is missing.
    """
    assert child.stdout
    process, printed, marks = psutil.Process(child.pid), list[str](), list[float]()
    with child:
        for line in child.stdout:
            printed.append(line)
            if BEGINS in line or ENDS in line:
                times = process.cpu_times()
                marks.append(times.user + times.system)
    return "".join(printed), marks[1] - marks[0] if len(marks) == 2 else None


def _arguments(engine: Engine, settings: Settings, prompt: Prompt, count: int, folder: Path) -> list[str]:
    """Arguments for one request in flight, no warm-up request, and the same sampling as in our client."""
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


def _environ() -> dict[str, str]:
    """The environment without secrets, which neither the engine nor `vllm bench serve` needs."""
    kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return kept | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONUNBUFFERED": "1"}


def _anew(prompt: Prompt) -> Prompt:
    return replace(prompt, nonce=new_nonce())


def _vllm() -> Path:
    found = arena_home(os.environ) / "env" / "engines" / "bin" / "vllm"
    if not found.exists():
        raise ConfigError(f"{found} is not there: ./arena install")
    return found
