"""A study from preflight to the written result, resumable after every document."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench import folder
from bench.plan import Trial
from bench.preflight import Preflight, preflight
from bench.record import Origin, result
from bench.report.files import render
from bench.run import Bench, Prepare, nothing, run
from bench.sample import Sample
from bench.study import Options, Study
from engines.errors import ConfigError, StackError
from engines.prompt import Prompt
from engines.topology import Engine

Say = Callable[[str], object]  # a line of progress


@dataclass(frozen=True, slots=True)
class Past:
    """What an interrupted run left; `engines` is what they said of themselves then."""

    samples: tuple[Sample, ...] = ()
    run_id: str = ""
    date: str = ""
    command: str = ""
    duration: float = 0.0
    engines: Mapping[str, Any] | None = None


def resume(path: Path) -> tuple[Options, Past]:
    """The options and samples in a result folder. Raises ConfigError when there is nothing to go on with."""
    left = folder.read(path)
    if left.get("complete"):
        raise ConfigError(f"{path} is complete: ./arena bench report {path} shows it")
    try:
        options = Options.model_validate(left["options"])
        samples = [Sample.model_validate(each) for each in left["samples"]]
    except (LookupError, ValidationError) as exc:
        raise ConfigError(f"{path} cannot be resumed: it was written by another version") from exc
    engines = left["preflight"]["engines"]
    return options, Past(tuple(samples), left["run_id"], left["date"], left["command"], left["duration"], engines)


async def conduct(
    study: Study,
    options: Options,
    engines: Sequence[Engine],
    path: Path,
    say: Say,
    *,
    command: str,
    past: Past | None = None,
    bench: Bench | None = None,
    check: Callable[[Sequence[Engine]], Awaitable[Preflight]] = preflight,
) -> dict[str, Any]:
    """Measures what is not measured yet, writes the result after every sample, and returns it whole.

    Raises EngineError, StackError or ConfigError when the engines cannot be compared or stop answering.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    past = past or Past(run_id=secrets.token_hex(8), date=now, command=command)
    bench = bench or Bench(prepare=preparation(options.prepare))
    found = await check(engines)
    if past.engines is not None and past.engines != found.engines:
        raise ConfigError("the engines are not what they were when this run began: start a new one")
    for mismatch in found.mismatches:
        say(f"note: {mismatch}")
    await _warm_up(study, bench, say)
    began = bench.clock()
    samples: list[Sample] = []

    def written(*, complete: bool) -> dict[str, Any]:
        origin = Origin(past.run_id, past.date, past.command, past.duration + bench.clock() - began, found)
        now = result(study, options, origin, samples, complete=complete)
        folder.write(path / folder.RESULT, now)
        return now

    for stage in (lambda _: study.trials, study.more):
        kept, todo = _remaining(stage(samples), past)
        samples += kept
        line = Progress(todo, bench.clock)
        async for sample in run(todo, study.prompt, bench, began - past.duration):
            samples.append(sample)
            written(complete=False)
            say(line.after(sample))
    return written(complete=True)


def publish(found: Mapping[str, Any], path: Path) -> None:
    """The reports beside the result, and each arm as a file that reads like one of `vllm bench serve`."""
    for name, text in render(found).items():
        folder.write_text(path / name, text)
    frame = {key: value for key, value in found.items() if not isinstance(value, dict | list)}
    for name, fields in found.get("arms", {}).items():
        folder.write(path / "arms" / f"{name}.json", {**frame, **fields})


class Progress:
    """Lines that say where a run is and how long it will take; the estimate is the mean of the samples so far."""

    def __init__(self, todo: Sequence[Trial], clock: Callable[[], float]) -> None:
        self.documents, self.began, self.clock = max((t.document + 1 for t in todo), default=0), clock(), clock
        self.left = sum(len(trial.steps) for trial in todo)
        self.done = 0

    def after(self, sample: Sample) -> str:
        """One line a sample."""
        self.done += 1
        self.left -= 1
        cost = "failed" if sample.ttft_ms is None else f"{sample.ttft_ms:,.0f} ms"
        counts = "" if sample.valid else f", not counted: {sample.reason}"
        remaining = (self.clock() - self.began) / self.done * self.left
        left = f"; {_span(remaining)} left" if self.left else ""
        return f"{sample.document + 1}/{self.documents} {sample.arm} on {sample.engine}: {cost}{counts}{left}"


def _remaining(trials: Sequence[Trial], past: Past) -> tuple[list[Sample], tuple[Trial, ...]]:
    """The samples to keep and the trials to do: a document that was half sent is no longer cold, and starts anew."""
    answered = [sample.document for sample in past.samples if sample.ttft_ms is not None]
    done = {trial.document for trial in trials if answered.count(trial.document) == len(trial.steps)}
    kept = [sample for sample in past.samples if sample.document in done]
    return kept, tuple(trial for trial in trials if trial.document not in done)


async def _warm_up(study: Study, bench: Bench, say: Say) -> None:
    """Every engine computes or loads every length once, on documents that are not measured."""
    if study.warmups:
        steps = sum(len(trial.steps) for trial in study.warmups)
        say(f"warming up: {steps} requests that are not measured")

    def short(nonce: str) -> Prompt:
        return replace(study.prompt(nonce), max_tokens=4)

    async for sample in run(study.warmups, short, bench, bench.clock()):
        if sample.ttft_ms is None:
            raise StackError(f"the warm-up failed: {sample.reason}")
        flaw = "" if sample.valid else f", but {sample.reason}"
        say(f"  {sample.arm} on {sample.engine}, {sample.prompt_tokens:,} tokens: {sample.ttft_ms:,.0f} ms{flaw}")


def preparation(command: str | None) -> Prepare:
    """The caller's command before every read from the volume: to drop caches, say."""

    async def prepare() -> None:
        assert command
        child = await asyncio.create_subprocess_shell(command, stdout=sys.stderr)
        if code := await child.wait():
            raise StackError(f"--prepare '{command}' ended with exit code {code}")

    return prepare if command else nothing


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
