"""Where does a TTFT go: to storage, to decryption, to the tail, or elsewhere?

Four arms at several lengths, one request at a time. The servers report most parts of a TTFT, but reading and decrypting
only together: so after each cross-read its files are read and decrypted once more, and timed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.arms import COLD, CROSS_READ, FIRST_SIGHT, OWN_WARM
from bench.experiment import Experiment, OnProgressLine, document_experiment
from bench.measure import MeasureContext, PromptOf, measure_document
from bench.options import Options
from bench.plan import EngineRoles, Trial
from bench.question_results import AccessSpeed, VolumeSummary
from bench.questions.storage import MeasureVolume, Volume
from bench.result import Result
from bench.sample import Sample
from bench.time_budget import budgets
from cache.load_cost import LoadCost, in_page_cache, kv_files, time_load
from cache.volume import current_namespace
from config.settings import Settings

ARMS = (COLD, OWN_WARM, FIRST_SIGHT, CROSS_READ)
LENGTHS = (1056, 3104, 6816)  # tokens; half a chunk of 64 over whole chunks
ATTRIBUTED_PCT = 90.0  # of each mean TTFT

ListFiles = Callable[[], AbstractSet[Path]]
TimeLoad = Callable[[AbstractSet[Path]], LoadCost | None]
InPageCache = Callable[[AbstractSet[Path]], bool]


@dataclass(frozen=True, slots=True)
class KVFiles:
    """The files with stored KV, and functions that read and decrypt some of them once more, and find them in memory."""

    list_all: ListFiles
    time_load: TimeLoad
    in_page_cache: InPageCache

    @classmethod
    def of(cls, settings: Settings) -> KVFiles:
        """The files of the arena's KV volume."""
        encrypted = settings.kv_serde != "none"
        return cls(
            list_all=lambda: kv_files(current_namespace(settings)),
            time_load=lambda files: time_load(files, encrypted=encrypted),
            in_page_cache=in_page_cache,
        )


def study(
    options: Options, roles: EngineRoles, files: KVFiles, measure_speed: MeasureVolume, measured: Volume | None = None
) -> Experiment:
    """The experiment: each length of `options.input_lens` in four arms.

    The volume is measured as in `bench.questions.storage.study`.
    """
    volume = dict(measured or {})

    async def measure_once(say: OnProgressLine) -> None:
        if not volume:
            volume.update(await measure_speed(say))

    def measure(trial: Trial, ask_with: PromptOf, bench: MeasureContext, began: float) -> AsyncIterator[Sample]:
        return _with_load_cost(files, trial, ask_with, bench, began)

    def summary(samples: Sequence[Sample], _options: Options) -> Mapping[str, Any]:
        return {"storage": volume, "budgets": budgets(samples, ARMS), "limits": limits(samples, volume)}

    return replace(
        document_experiment(options, roles, ARMS, (COLD, FIRST_SIGHT, CROSS_READ), summary),
        arms=(),  # an average over all lengths would mean nothing
        before_first=measure_once,
        measure=measure,
    )


async def _with_load_cost(
    files: KVFiles, trial: Trial, ask_with: PromptOf, bench: MeasureContext, began: float
) -> AsyncIterator[Sample]:
    """The samples of a document. Those that read from the volume have what reading and decrypting its files costs.

    The document's files are those that appeared since it began. What --prepare does before a read, it does before the
    second one too.
    """
    reads = {step.arm.name for step in trial.steps if step.arm.reads}
    before, cached = await asyncio.to_thread(files.list_all), False

    async def prepare() -> None:
        nonlocal cached
        await bench.prepare()
        cached = await asyncio.to_thread(lambda: files.in_page_cache(files.list_all() - before))

    async for sample in measure_document(trial, ask_with, replace(bench, prepare=prepare), began):
        if sample.arm in reads and sample.valid:
            await bench.prepare()
            cost = await asyncio.to_thread(lambda: files.time_load(files.list_all() - before))
            yield sample.model_copy(update=_fields(cost, cached)) if cost else sample
        else:
            yield sample


def _fields(cost: LoadCost, cached: bool) -> Mapping[str, Any]:
    return {
        "loaded_bytes": cost.loaded_bytes,
        "in_page_cache": cached,
        "read_beside_ms": cost.read * 1e3,
        "decryption_beside_ms": cost.decryption * 1e3,
    }


def limits(samples: Sequence[Sample], volume: Volume) -> list[dict[str, Any]]:
    """A PhysicalLimit as JSON for each length that has cross-reads that count.

    Reading takes the KV's bytes over the volume's bandwidth, from the page cache or from the device. A token of the
    tail takes as long as one of the cold prompts of that length.
    """
    speeds = VolumeSummary.model_validate(volume)
    counted = [s for s in samples if s.valid and s.ttft_ms is not None and s.prompt_tokens]
    found = []
    for input_len in sorted({sample.input_len for sample in counted}):
        reads = [s for s in counted if (s.arm, s.input_len) == (CROSS_READ.name, input_len)]
        cold = [s for s in counted if (s.arm, s.input_len) == (COLD.name, input_len)]
        size, per_token = _mean(s.loaded_bytes for s in reads), _mean(_prefill_per_token(s) for s in cold)
        tail = _mean((s.prompt_tokens or 0) - (s.cached_tokens or 0) for s in reads)
        if reads:
            limit = {
                "kv_bytes": size,
                "read_cached_ms": _read_ms(size, speeds.read_cached),
                "read_device_ms": _read_ms(size, speeds.read_device),
                "decryption_ms": _mean(s.decryption_beside_ms for s in reads),
                "tail_tokens": tail,
                "tail_ms": tail * per_token if tail is not None and per_token is not None else None,
                "mean_ttft_ms": _mean(s.ttft_ms for s in reads),
            }
            found.append({"input_len": input_len, **limit})
    return found


def holds(result: Result) -> bool:
    """Whether every arm has samples that count at every length, and at least 90 % of each mean TTFT is attributed."""
    measured = {(row.arm, row.input_len) for row in result.budgets}
    wanted = {(arm.name, input_len) for arm in ARMS for input_len in result.options["input_lens"]}
    return measured == wanted and all((row.attributed_pct or 0) >= ATTRIBUTED_PCT for row in result.budgets)


def _prefill_per_token(sample: Sample) -> float | None:
    return sample.server_ttft_ms / sample.prompt_tokens if sample.server_ttft_ms and sample.prompt_tokens else None


def _read_ms(size: float | None, access: AccessSpeed) -> float | None:
    return size / access.gb_per_s / 1e6 if size and access.gb_per_s else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
