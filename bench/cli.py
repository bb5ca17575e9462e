"""Runs a benchmark and shows its result on the screen and in its folder."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bench import result_io
from bench.assemble import stack_info
from bench.experiment import Experiment
from bench.external_pair import external_engines, measure_scales, sizing
from bench.measure import MeasureContext
from bench.options import Options
from bench.plan import EngineRoles, assign_plain_pair, assign_roles
from bench.preflight import describe_engines, read_engines
from bench.questions import budget, mm, peer, storage, sweep, ttft, verify
from bench.questions.budget import KVFiles
from bench.report.render import report_files, write_reports
from bench.report.terminal import terminal_report
from bench.result import Result
from bench.runner import PreviousRun, before_read_command, resume_run, run_experiment
from bench.speedup import too_few_pairs
from client.measurement_lock import MeasurementLock
from config.errors import ArenaError, ConfigError
from config.exit_codes import caller_settings
from config.paths import results_folder, run_folder
from config.printable import printable
from config.settings import Settings
from config.topology import Topology

CLAIMING = ("ttft", "mm", "aa", "decode", "peer")  # kinds that make one claim from all documents


class _Console(Console):
    """A console that prints no escape sequences from servers or from other people's results."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Removes escape sequences from the text before rich adds its own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


out = _Console(highlight=False, markup=False, soft_wrap=True)
err = _Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def run_benchmark(options: Options, result_dir: Path | None, resuming: bool, json_file: str | None) -> Result:
    """Runs the benchmark and shows its result. A resumed run keeps its original options."""
    if not resuming:
        path = result_io.create_folder(result_dir or run_folder(results_folder(), options.kind))
        past = PreviousRun.none(shell_command())
    elif result_dir:
        path = result_dir
        options, past = resume_run(path, options)
    else:
        raise ConfigError("--resume goes on with the run in --result-dir: name the folder")
    if options.kind in CLAIMING and (warning := too_few_pairs(len(options.input_lens))):
        err.print(f"note: {warning}")
    with _resume_hint(path), _measurement_lock(options):
        measuring = _measure_pair if options.base_url else _measure_arena
        result = asyncio.run(measuring(options, path, past))
    show(result, path, json_file)
    return result


@contextmanager
def _resume_hint(path: Path) -> Iterator[None]:
    """Prints where results go and, if the run ends early, how to resume it."""
    err.print(f"results go to {path}")
    try:
        yield
    except (KeyboardInterrupt, ArenaError):
        if (path / result_io.RESULT).exists():
            err.print(f"kept in {path}: go on with the same command, --result-dir {path} --resume")
        raise


def _measurement_lock(options: Options) -> AbstractContextManager[None]:
    """Prevents concurrent measurements on the arena's engines; external servers need no lock."""
    if options.base_url:
        return nullcontext()
    return MeasurementLock.of(os.environ).held(f"bench {options.kind}", err.print)


async def _measure_pair(options: Options, path: Path, past: PreviousRun) -> Result:
    pair = await external_engines(options.base_url, options.model, options.extra_body)
    experiment = ttft.two_servers_study(options, assign_plain_pair(*pair))
    err.print("asking each server twice how many tokens a prompt has; this is not measured")
    scales = await measure_scales(pair, experiment.prompt)
    bench = MeasureContext(prepare=before_read_command(options.prepare), fit_prompt=sizing(scales))
    run = partial(run_experiment, past=past, bench=bench, check=describe_engines)
    return await run(experiment, options, pair, path, err.print)


async def _measure_arena(options: Options, path: Path, past: PreviousRun) -> Result:
    settings = caller_settings()
    if settings.engines != 4:
        raise ConfigError("the benchmark compares plain with shared and needs all four engines: set ENGINES=4")
    topology = Topology.of(settings)
    await read_engines(topology.engines)
    bench = MeasureContext(prepare=before_read_command(options.prepare))
    if past.engines is None and (options.kind == "mm" or options.modality):
        refused = await mm.refused(options, topology.engines[0], bench)
        for modality, why in refused.items():
            err.print(f"{modality} is refused: {why}")
        options = options.model_copy(update={"refused": refused})
    experiment = _studies(settings, past)[options.kind](options, assign_roles(topology))
    run = partial(run_experiment, past=past, bench=bench, stack=stack_info(settings))
    return await run(experiment, options, topology.engines, path, err.print)


def _studies(settings: Settings, past: PreviousRun) -> Mapping[str, Callable[[Options, EngineRoles], Experiment]]:
    measure_speed = partial(storage.measure_volume, settings)
    return {
        "ttft": ttft.study,
        "aa": ttft.aa_study,
        "decode": ttft.decode_study,
        "mm": mm.study,
        "verify": verify.study,
        "sweep": sweep.study,
        "peer": partial(peer.study, settings=settings),
        "storage": partial(storage.study, measure_speed=measure_speed, measured=past.storage),
        "budget": partial(budget.study, files=KVFiles.of(settings), measure_speed=measure_speed, measured=past.storage),
    }


def show(result: Result, path: Path, json_file: str | None) -> None:
    """Prints and writes the reports. Printing comes first, so that it happens even if a file cannot be written."""
    files = report_files(result)
    (err if json_file == "-" else out).print(terminal_report(result))
    save(result, json_file)
    write_reports(files, path)
    err.print(f"kept in {path}: result.json, report.md, report.html")


def save(result: Result | Mapping[str, Any], json_file: str | None) -> None:
    """Writes the result to the file named by --json, or to stdout for `-`."""
    if json_file == "-":
        sys.stdout.write(result_io.to_json_text(result))
    elif json_file:
        result_io.write_result(Path(json_file), result)


def shell_command() -> str:
    """The command line as typed, which the result records; no option accepts a secret."""
    return shlex.join(["./arena", "bench", *sys.argv[1:]])
