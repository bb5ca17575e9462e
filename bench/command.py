"""From choices to a result on the screen and in its folder."""

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

from bench import aa, canary, decode, folder, foreign, mm, peer, storage, sweep, ttft
from bench.comparison import too_few
from bench.plan import Cast, cast, cast_of
from bench.preflight import introduce, standing
from bench.record import stack_of
from bench.report.terminal import report as shown
from bench.run import Bench
from bench.session import Past, conduct, preparation, publish, reports, resume
from bench.study import Options, Study
from bench.target import engines_at, scales_of, sizing
from engines.door import settings_of_the_caller
from engines.errors import ArenaError, ConfigError
from engines.measurement_lock import MeasurementLock
from engines.printable import printable
from engines.results import results_folder, run_folder
from engines.settings import Settings
from engines.topology import Topology

CLAIMING = ("ttft", "mm", "aa", "decode", "peer")  # by a comparison of all documents


class _Screen(Console):
    """A terminal that gets no escape sequence from what servers and results of others say."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """All that is printed comes through here, before rich adds its own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


out = _Screen(highlight=False, markup=False, soft_wrap=True)
err = _Screen(stderr=True, highlight=False, markup=False, soft_wrap=True)


def measure(options: Options, result_dir: Path | None, resuming: bool, json_file: str | None) -> dict[str, Any]:
    """From the choices to the shown result; what a resumed run began with goes before what is chosen now."""
    past: Past | None = None
    if resuming:
        if result_dir is None:
            raise ConfigError("--resume goes on with the run in --result-dir: name the folder")
        path = result_dir
        options, past = resume(path, options)
    else:
        path = folder.claim(result_dir or run_folder(results_folder(), options.kind))
    if options.kind in CLAIMING and (warning := too_few(len(options.input_lens))):
        err.print(f"note: {warning}")
    with _kept(path), _alone(options):
        result = asyncio.run(_conduct(options, path, past))
    show(result, path, json_file)
    return result


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Says where results go, and how to go on when a run ends early."""
    err.print(f"results go to {path}")
    try:
        yield
    except (KeyboardInterrupt, ArenaError):
        if (path / folder.RESULT).exists():
            err.print(f"kept in {path}: go on with the same command, --result-dir {path} --resume")
        raise


def _alone(options: Options) -> AbstractContextManager[None]:
    """Nothing else is measured meanwhile on the arena's engines; servers elsewhere are not ours to keep free."""
    if options.base_url:
        return nullcontext()
    return MeasurementLock.of(os.environ).held(f"bench {options.kind}", err.print)


async def _conduct(options: Options, path: Path, past: Past | None) -> dict[str, Any]:
    measured = partial(conduct, path=path, say=err.print, command=command(), past=past)
    if options.base_url:
        pair = await engines_at(options.base_url, options.model, options.extra_body)
        study = foreign.study(options, cast(*pair))
        err.print("asking each server twice how many tokens a prompt has; this is not measured")
        bench = Bench(prepare=preparation(options.prepare), sized=sizing(await scales_of(pair, study.prompt)))
        return await measured(study, options, pair, bench=bench, check=introduce)
    settings, topology = four_engines()
    await standing(topology.engines)
    bench = Bench(prepare=preparation(options.prepare))
    if past is None and (options.kind == "mm" or options.modality):
        options = await _taken(options, topology, bench)
    study = _studies(settings, past)[options.kind](options, cast_of(topology))
    return await measured(study, options, topology.engines, bench=bench, stack=stack_of(settings))


async def _taken(options: Options, topology: Topology, bench: Bench) -> Options:
    """The options with what the model refuses; a resumed run has them from its beginning."""
    refused = await mm.refused(options, topology.engines[0], bench)
    for modality, why in refused.items():
        err.print(f"{modality} is refused: {why}")
    return options.model_copy(update={"refused": refused})


def _studies(settings: Settings, past: Past | None) -> Mapping[str, Callable[[Options, Cast], Study]]:
    volume = past.storage if past else None
    return {
        "ttft": ttft.study,
        "aa": aa.study,
        "decode": decode.study,
        "mm": mm.study,
        "verify": canary.study,
        "sweep": sweep.study,
        "peer": partial(peer.study, settings=settings),
        "storage": partial(storage.study, look=partial(storage.look, settings), volume=volume),
    }


def show(result: Mapping[str, Any], path: Path, json_file: str | None) -> None:
    """The table first: a file that cannot be written takes nothing from it."""
    files = reports(result)
    (err if json_file == "-" else out).print(shown(result))
    save(result, json_file)
    publish(files, path)
    err.print(f"kept in {path}: result.json, report.md, report.html")


def save(result: Mapping[str, Any], json_file: str | None) -> None:
    """To --json: a file, or stdout for `-`."""
    if json_file == "-":
        sys.stdout.write(folder.as_text(result))
    elif json_file:
        folder.write(Path(json_file), result)


def command() -> str:
    """As it was typed; --metadata and --label are the caller's own, and no option takes a secret."""
    return shlex.join(["./arena", "bench", *sys.argv[1:]])


def four_engines() -> tuple[Settings, Topology]:
    settings = settings_of_the_caller()
    if settings.engines != 4:
        raise ConfigError("the benchmark compares plain with shared and needs all four engines: set ENGINES=4")
    return settings, Topology.of(settings)
