"""A study from preflight to the written result, resumable after every document."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
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
    """What an interrupted run left; `engines` is what they said of themselves then."""

    run_id: str
    date: str
    command: str
    duration: float = 0.0
    samples: tuple[Sample, ...] = ()
    engines: Mapping[str, Mapping[str, Any]] | None = None
    storage: Mapping[str, Any] | None = None  # the volume as it was measured

    @classmethod
    def none(cls, command: str) -> PreviousRun:
        """A run that begins now."""
        return cls(secrets.token_hex(8), datetime.now(UTC).isoformat(timespec="seconds"), command)


RUN_OR_CONTACTED = {  # field to option
    "base_url": "--base-url",
    "model": "--model",
    "extra_body": "--extra-body",
    "prepare": "--prepare",
}


def resume_run(path: Path, given: Options) -> tuple[Options, PreviousRun]:
    """The options and samples in a result folder, which may come from anybody.

    So what is run, and who is contacted, comes of `given`, and has to be what the run began with. Raises ConfigError
    when it is not, and when there is nothing to go on with.
    """
    left = result_io.read_json(path)
    if left.get("complete"):
        raise ConfigError(f"{path} is complete: ./arena bench report {path} shows it")
    try:
        options = Options.model_validate(left["options"])
        needed = {name: left[name] for name in ("run_id", "date", "command", "duration", "samples")}
        engines = left["preflight"]["engines"]
        past = TypeAdapter(PreviousRun).validate_python({**needed, "engines": engines, "storage": left.get("storage")})
    except (LookupError, TypeError, ValidationError) as exc:
        raise ConfigError(f"{path} cannot be resumed: another version wrote it, or another program") from exc
    if options.kind != given.kind:
        raise ConfigError(f"{path} holds a run of bench {options.kind}: resume it with that")
    began = [_typed(options, field) for field in RUN_OR_CONTACTED if getattr(options, field) != getattr(given, field)]
    if began:
        raise ConfigError(
            f"{path} was begun {' and '.join(began)}: a result alone gets nothing run and nobody asked, so --resume "
            "wants the same on the command line"
        )
    return options, past


def _typed(options: Options, field: str) -> str:
    value, option = getattr(options, field), RUN_OR_CONTACTED[field]
    values = [value] if isinstance(value, str) else [json.dumps(value)] if isinstance(value, dict) else value or ()
    return "with " + " ".join(f"{option} {shlex.quote(each)}" for each in values) if values else f"without {option}"


async def run_experiment(
    study: Experiment,
    options: Options,
    engines: Sequence[Engine],
    path: Path,
    say: OnProgressLine,
    *,
    command: str,
    stack: Mapping[str, Any] | None = None,
    past: PreviousRun | None = None,
    bench: MeasureContext | None = None,
    check: Callable[[Sequence[Engine]], Awaitable[PreflightResult]] = preflight,
) -> Result:
    """Measures what is not measured yet, keeps it after every document, and returns the result whole.

    `stack` is what the engines were started with, where that is known. Raises EngineError, StackError or ConfigError
    when the engines cannot be compared or stop answering, ResultError when the result cannot be written.
    """
    past = past or PreviousRun.none(command)
    bench = bench or MeasureContext(prepare=before_read_command(options.prepare))
    measuring = _Run(
        path / result_io.RESULT, options, past, await _checked(engines, check, past, say), stack or {}, bench, say
    )
    try:
        study, todo = await measuring.begin(study, Phase(study.trials, study.warmups))
        await measuring.measure(study, todo, study.foreseen)
        study, todo = await measuring.begin(study, study.more(measuring.samples))
        await measuring.measure(study, todo)
    except BaseException:
        if measuring.samples:
            measuring.write(assemble_result(study, options, measuring.origin(), measuring.samples, complete=False))
        raise
    whole = assemble_result(study, options, measuring.origin(), measuring.samples, complete=True)
    measuring.write(whole)
    return whole


class _Run:
    """The samples so far, and the file that they are kept in."""

    def __init__(
        self,
        file: Path,
        options: Options,
        past: PreviousRun,
        found: PreflightResult,
        stack: Mapping[str, Any],
        bench: MeasureContext,
        say: OnProgressLine,
    ) -> None:
        self.file, self.options, self.past, self.bench, self.say = file, options, past, bench, say
        self.began, self.samples = bench.clock() - past.duration, list[Sample]()
        self._origin = partial(
            RunOrigin, past.run_id, past.date, past.command, preflight=found, host=host_info(), stack=stack
        )

    def origin(self) -> RunOrigin:
        """As it is now."""
        return self._origin(duration=self.bench.clock() - self.began)

    def write(self, content: Result | Mapping[str, Any]) -> None:
        result_io.write_result(self.file, content)

    async def begin(self, study: Experiment, stage: Phase) -> tuple[Experiment, Sequence[WorkUnit]]:
        """Keeps what the past has of a stage, warms up for the rest and returns that; the clock stands meanwhile."""
        kept, todo = _remaining(stage.units, self.past)
        self.samples += kept
        stopped = self.bench.clock()
        if todo:
            await _warm_up(stage.warmups, study.prompt, self.bench, self.say)
        if study.survey:
            study = await study.survey(self.say)
        self.began += self.bench.clock() - stopped
        return study, todo

    async def measure(self, study: Experiment, todo: Sequence[WorkUnit], foreseen: Sequence[WorkUnit] = ()) -> None:
        """The samples are written after every unit; what is calculated from them costs more, and comes at the end."""
        line = RunProgress(todo, foreseen, self.bench.clock)
        for unit in todo:
            if unit.title:
                self.say(unit.title)
            async for sample in until_unreachable(study.measure(unit, study.prompt, self.bench, self.began)):
                self.samples.append(sample)
                self.say(line.after(sample))
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
    """Lines that say where a run is and how long it will take: each token as long as those so far, on the average."""

    def __init__(self, todo: Sequence[WorkUnit], foreseen: Sequence[WorkUnit], clock: Callable[[], float]) -> None:
        rows = [row for unit in (*todo, *foreseen) for row in unit.rows]
        self.documents = max((document + 1 for document, _, _ in rows), default=0)
        self.began, self.clock, self.done = clock(), clock, 0
        self.left = sum(_weight(input_len) for _, _, input_len in rows)

    def after(self, sample: Sample) -> str:
        """One line a sample."""
        self.done += _weight(sample.input_len)
        self.left -= _weight(sample.input_len)
        cost = "failed" if sample.ttft_ms is None else f"{sample.ttft_ms:,.0f} ms"
        counts = "" if sample.valid else f", not counted: {sample.reason}"
        remaining = (self.clock() - self.began) / self.done * self.left
        left = f"; {_span(remaining)} left" if self.left else ""
        return f"{sample.document + 1}/{self.documents} {sample.arm} on {sample.engine}: {cost}{counts}{left}"


def _weight(input_len: int) -> int:
    """Of a request in the estimate; media do not say how many tokens they have."""
    return max(1, input_len)


def _remaining(units: Sequence[WorkUnit], past: PreviousRun) -> tuple[list[Sample], list[WorkUnit]]:
    """The samples to keep, failed ones too, and the units to do.

    A unit that was half sent starts anew, for its documents are no longer cold; so does one that no engine answered.
    """
    found = {_row(sample): sample for sample in past.samples}
    done = {row for unit in units if _is_done(unit, found) for row in unit.rows}
    kept = [sample for row, sample in found.items() if row in done]
    return kept, [unit for unit in units if not done.issuperset(unit.rows)]


def _is_done(unit: WorkUnit, found: Mapping[SampleKey, Sample]) -> bool:
    samples = [found.get(row) for row in unit.rows]
    return all(samples) and not all(sample and sample.unanswered for sample in samples)


def _row(sample: Sample) -> SampleKey:
    return sample.document, sample.arm, sample.input_len


async def _warm_up(warmups: Sequence[Trial], ask_with: PromptOf, bench: MeasureContext, say: OnProgressLine) -> None:
    """Every engine computes or loads every length once, on documents that are not measured."""
    if warmups:
        steps = sum(len(trial.steps) for trial in warmups)
        say(f"warming up: {steps} requests that are not measured")

    def short(nonce: str) -> Prompt:
        return replace(ask_with(nonce), max_tokens=4)

    async for sample in run_trials(warmups, short, bench, bench.clock()):
        if sample.ttft_ms is None:
            raise StackError(f"the warm-up failed: {sample.reason}")
        flaw = "" if sample.valid else f", but {sample.reason}"
        say(f"  {sample.arm} on {sample.engine}, {sample.prompt_tokens:,} tokens: {sample.ttft_ms:,.0f} ms{flaw}")


def before_read_command(command: str | None) -> BeforeRead:
    """The caller's command before every read from the volume: to drop caches, say."""

    async def prepare() -> None:
        assert command
        child = await asyncio.create_subprocess_shell(command, stdout=sys.stderr)
        if code := await child.wait():
            raise StackError(f"--prepare '{command}' ended with exit code {code}")

    return prepare if command else do_nothing


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
