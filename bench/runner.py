"""Runs an experiment from preflight to the written result. Interrupted runs can be resumed after any document."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench import result_io
from bench.assemble import RunOrigin, assemble_result, host_info, partial_result
from bench.experiment import Experiment, OnProgressLine, Phase
from bench.measure import BeforeRead, MeasureContext, PromptOf, do_nothing, run_trials, until_unreachable
from bench.options import Options
from bench.plan import SampleKey, Trial, WorkUnit
from bench.preflight import PreflightResult, changed_engines, preflight
from bench.result import Result
from bench.sample import Sample
from client.prompt import Prompt
from config.errors import ConfigError, StackError
from config.topology import Engine


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """The state of an interrupted run; `engines` contains what the servers reported at that time."""

    run_id: str
    date: str
    command: str
    duration: float = 0.0
    samples: tuple[Sample, ...] = ()
    engines: Mapping[str, Mapping[str, Any]] | None = None
    storage: Mapping[str, Any] | None = None  # the measured speed of the volume

    @classmethod
    def none(cls, command: str) -> PreviousRun:
        """An empty state, for a run that begins now."""
        return cls(secrets.token_hex(8), datetime.now(UTC).isoformat(timespec="seconds"), command)


REPEATED_ON_RESUME = {  # options that name a command to run or a server to contact; --resume requires them again
    "base_url": "--base-url",
    "model": "--model",
    "extra_body": "--extra-body",
    "prepare": "--prepare",
}


def resume_run(path: Path, given: Options) -> tuple[Options, PreviousRun]:
    """Reads the options and samples from a result folder, which is untrusted input.

    Commands to run and servers to contact must therefore be `given` again, equal to the original ones. Raises
    ConfigError if they differ, or if there is nothing to resume.
    """
    saved = result_io.read_json(path)
    if saved.get("complete"):
        raise ConfigError(f"{path} is complete: ./arena bench report {path} shows it")
    try:
        options = Options.model_validate(saved["options"])
        needed = {name: saved[name] for name in ("run_id", "date", "command", "duration", "samples")}
        engines = saved["preflight"]["engines"]
        past = TypeAdapter(PreviousRun).validate_python({**needed, "engines": engines, "storage": saved.get("storage")})
    except (LookupError, TypeError, ValidationError) as exc:
        raise ConfigError(f"{path} cannot be resumed: another version wrote it, or another program") from exc
    if options.kind != given.kind:
        raise ConfigError(f"{path} holds a run of bench {options.kind}: resume it with that")
    different = (field for field in REPEATED_ON_RESUME if getattr(options, field) != getattr(given, field))
    if mismatches := [_typed(options, field) for field in different]:
        raise ConfigError(
            f"{path} was started {' and '.join(mismatches)}: commands and servers are never read from a result file, "
            "so repeat these options together with --resume"
        )
    return options, past


def _typed(options: Options, field: str) -> str:
    """The option as it was typed, for an error message."""
    value, option = getattr(options, field), REPEATED_ON_RESUME[field]
    values = [value] if isinstance(value, str) else [json.dumps(value)] if isinstance(value, dict) else value or ()
    return "with " + " ".join(f"{option} {shlex.quote(each)}" for each in values) if values else f"without {option}"


async def run_experiment(
    experiment: Experiment,
    options: Options,
    engines: Sequence[Engine],
    path: Path,
    say: OnProgressLine,
    *,
    past: PreviousRun,
    bench: MeasureContext,
    stack: Mapping[str, Any] | None = None,
    check: Callable[[Sequence[Engine]], Awaitable[PreflightResult]] = preflight,
) -> Result:
    """Measures what is still missing, writes result.json after every document, and returns the complete result.

    For a new run, `past` is PreviousRun.none(). `stack` is the configuration of the engines, if it is known. Raises
    EngineError, StackError or ConfigError if the engines cannot be compared or stop answering, and ResultError if the
    result cannot be written.
    """
    found = await _checked(engines, check, past, say)
    began = bench.clock() - past.duration
    origin = RunOrigin(past.run_id, past.date, past.command, past.duration, found, host_info(), stack or {})
    run = _Run(path / result_io.RESULT, experiment, options, past, origin, bench, say, began)
    try:
        await run.measure(
            Phase(experiment.units, experiment.warmups), experiment.expected_units, experiment.before_first
        )
        await run.measure(experiment.next_phase(run.samples))
    except BaseException:
        if run.samples:
            run.write(assemble_result(experiment, options, run.origin(), run.samples, complete=False))
        raise
    whole = assemble_result(experiment, options, run.origin(), run.samples, complete=True)
    run.write(whole)
    return whole


@dataclass(slots=True)
class _Run:
    """The samples measured so far, and the file that they are written to."""

    file: Path
    experiment: Experiment
    options: Options
    past: PreviousRun
    beginning: RunOrigin
    bench: MeasureContext
    say: OnProgressLine
    began: float  # by the clock of `bench`, shifted by the time that does not count as measuring
    samples: list[Sample] = field(default_factory=list)

    def origin(self) -> RunOrigin:
        """The origin with the duration until now."""
        return replace(self.beginning, duration=self.bench.clock() - self.began)

    def write(self, content: Result | Mapping[str, Any]) -> None:
        result_io.write_result(self.file, content)

    async def measure(
        self,
        phase: Phase,
        expected: Sequence[WorkUnit] = (),
        before_first: Callable[[OnProgressLine], Awaitable[None]] | None = None,
    ) -> None:
        """Keeps the samples that the previous run has of this phase, then warms up and measures the rest.

        The duration does not include the warm-up. Samples are written after every unit. Statistics take longer to
        calculate than the samples take to write, so they are calculated once, at the end.
        """
        kept, todo = _remaining(phase.units, self.past)
        self.samples += kept
        stopped = self.bench.clock()
        if todo:
            await _warm_up(phase.warmups, self.experiment.prompt, self.bench, self.say)
        if before_first:
            await before_first(self.say)
        self.began += self.bench.clock() - stopped
        progress = RunProgress(todo, expected, self.bench.clock)
        for unit in todo:
            if unit.title:
                self.say(unit.title)
            samples = self.experiment.measure(unit, self.experiment.prompt, self.bench, self.began)
            async for sample in until_unreachable(samples):
                self.samples.append(sample)
                self.say(progress.after(sample))
            self.write(partial_result(self.options, self.origin(), self.samples))


async def _checked(
    engines: Sequence[Engine],
    check: Callable[[Sequence[Engine]], Awaitable[PreflightResult]],
    past: PreviousRun,
    say: OnProgressLine,
) -> PreflightResult:
    found = await check(engines)
    if past.engines is not None and (changes := changed_engines(past.engines, found.engines)):
        raise ConfigError(
            f"the engines are not what they were when this run began ({'; '.join(changes)}): start a new one"
        )
    for note in (*found.mismatches, *found.unchecked):
        say(f"note: {note}")
    return found


class RunProgress:
    """Progress lines with an estimate of the time left, which assumes that every token takes equally long."""

    def __init__(self, todo: Sequence[WorkUnit], expected: Sequence[WorkUnit], clock: Callable[[], float]) -> None:
        rows = [row for unit in (*todo, *expected) for row in unit.rows]
        self.documents = max((document + 1 for document, _, _ in rows), default=0)
        self.began, self.clock, self.done = clock(), clock, 0
        self.left = sum(_weight(input_len) for _, _, input_len in rows)

    def after(self, sample: Sample) -> str:
        """The line to show after a sample."""
        self.done += _weight(sample.input_len)
        self.left -= _weight(sample.input_len)
        cost = "failed" if sample.ttft_ms is None else f"{sample.ttft_ms:,.0f} ms"
        counts = "" if sample.valid else f", not counted: {sample.reason}"
        seconds = (self.clock() - self.began) / self.done * self.left
        left = f"; {seconds / 60:.0f} min left" if seconds >= 90 else f"; {seconds:.0f} s left"
        line = f"{sample.document + 1}/{self.documents} {sample.arm} on {sample.engine}: {cost}{counts}"
        return line + left if self.left else line


def _weight(input_len: int) -> int:
    """The weight of one request in the time estimate: its token count, or 1 for media, whose token count is unknown."""
    return max(1, input_len)


def _remaining(units: Sequence[WorkUnit], past: PreviousRun) -> tuple[list[Sample], list[WorkUnit]]:
    """The samples to keep, including failed ones, and the units still to measure.

    A unit of which only a part was sent is repeated with new documents, because its own are no longer cold. A unit
    that no engine answered is repeated too.
    """
    found: dict[SampleKey, Sample] = {(s.document, s.arm, s.input_len): s for s in past.samples}
    done = {row for unit in units if _is_done(unit, found) for row in unit.rows}
    kept = [sample for row, sample in found.items() if row in done]
    return kept, [unit for unit in units if not done.issuperset(unit.rows)]


def _is_done(unit: WorkUnit, found: Mapping[SampleKey, Sample]) -> bool:
    samples = [found.get(row) for row in unit.rows]
    return all(samples) and not all(sample and sample.unanswered for sample in samples)


async def _warm_up(warmups: Sequence[Trial], ask_with: PromptOf, bench: MeasureContext, say: OnProgressLine) -> None:
    """Sends documents that are not measured. Raises StackError if one fails."""
    if warmups:
        say(f"warming up: {sum(len(trial.steps) for trial in warmups)} requests that are not measured")

    def short(nonce: str) -> Prompt:
        return replace(ask_with(nonce), max_tokens=4)

    async for sample in run_trials(warmups, short, bench, bench.clock()):
        if sample.ttft_ms is None:
            raise StackError(f"the warm-up failed: {sample.reason}")
        flaw = "" if sample.valid else f", but {sample.reason}"
        say(f"  {sample.arm} on {sample.engine}, {sample.prompt_tokens:,} tokens: {sample.ttft_ms:,.0f} ms{flaw}")


def before_read_command(command: str | None) -> BeforeRead:
    """A function that runs `command` before a read from the volume, for example to drop page caches."""

    async def prepare() -> None:
        assert command
        child = await asyncio.create_subprocess_shell(command, stdout=sys.stderr)
        if code := await child.wait():
            raise StackError(f"--prepare '{command}' ended with exit code {code}")

    return prepare if command else do_nothing
