"""One small run of each kind against fake engines. Clock, nonces and times are made up, so it leaves the same result
every time. `python tests/golden_runs.py` writes tests/bench/golden anew; look at what changed before it is committed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench_rows import a_bench  # noqa: E402
from fake_engine import Behaviour, FakeEngine, Volume, topology_of  # noqa: E402
from fakes import a_reply  # noqa: E402

from bench.experiment import Experiment  # noqa: E402
from bench.measure import MeasureContext  # noqa: E402
from bench.media_prompts import Sizes  # noqa: E402
from bench.options import Options  # noqa: E402
from bench.plan import assign_plain_pair, assign_roles  # noqa: E402
from bench.preflight import describe_engines, preflight  # noqa: E402
from bench.questions import mm, peer, storage, sweep, ttft, verify  # noqa: E402
from bench.runner import PreviousRun, run_experiment  # noqa: E402
from client.prompt import Prompt  # noqa: E402
from client.reply import Reply, ServerTimes  # noqa: E402
from config.topology import Engine, Topology  # noqa: E402

GOLDEN = Path(__file__).with_name("bench") / "golden"
SMALL = Sizes(image=(32, 32), images=(32, 32), video=(32, 32), frames=2, seconds=0.2)
SPEED = {"gb_per_s": 2.0, "method": "O_DIRECT", "reason": None}
VOLUME = {
    "tool": "fio",
    "path": "/kv",
    "filesystem": "ext4",
    "note": None,
    "chunk_bytes": 5_898_240,
    "bytes_per_token": 23_040.0,
    "workers": 8,
    "read_cached": SPEED,
    "read_device": {"gb_per_s": None, "method": None, "reason": "overlay: O_DIRECT is refused"},
    "write_device": SPEED,
    "sequential": {"read_cached": SPEED, "read_device": SPEED, "write": SPEED},
}
NOT_TAKEN = {"video": "plain-a: HTTP 400: At most 0 video_url may be provided in one prompt."}


@dataclass(frozen=True)
class GoldenRun:
    """A kind of run, and what is chosen for it."""

    options: Options
    study: Callable[[Options, Topology], Experiment]
    ask: Callable[[Engine, Prompt], Any] | None = None  # without a network, where many requests are in flight


def options(kind: str, documents: int = 5, tokens: int = 1100, **more: Any) -> Options:
    return Options(kind=kind, **{"input_lens": (tokens,) * documents, "output_len": 4, "num_warmups": 0, **more})


def of_arena(study: Callable[..., Experiment], **more: Any) -> Callable[[Options, Topology], Experiment]:
    return lambda chosen, topology: study(chosen, assign_roles(topology), **more)


async def under_load(engine: Engine, _prompt: Prompt) -> Reply:
    shared = engine.name == "lmcache-b"
    return a_reply(engine, ttft=0.4 if shared else 4.0, prompt=1100, cached=1024 if shared else 0)


async def one_second(engine: Engine, _prompt: Prompt) -> Reply:
    return a_reply(engine, ttft=1.0)


async def volume(_say: Any) -> Mapping[str, Any]:
    return VOLUME


def of_clients(chosen: Options, topology: Topology) -> Experiment:
    """Beside a client that sends nothing."""

    def theirs(_engine: Engine, _prompt: Prompt, count: int) -> peer.Times:
        return [1.01] * count, 0.01 * count

    engine = topology.engines[0]
    planned = ttft.study(chosen, assign_roles(topology))
    return replace(
        planned,
        arms=(peer.OURS, peer.THEIRS),
        units=peer.blocks(chosen, engine),
        summary=peer.summary,
        measure=partial(peer.measure_block, theirs),
    )


RUNS = {
    "ttft": GoldenRun(options("ttft", save_detailed=True, metadata={"gpu": "none"}), of_arena(ttft.study)),
    "two_servers": GoldenRun(
        options("ttft", base_url=("http://a", "http://b")),
        lambda chosen, topology: ttft.two_servers_study(chosen, assign_plain_pair(*topology.engines[:2])),
    ),
    "aa": GoldenRun(options("aa"), of_arena(ttft.aa_study)),
    "decode": GoldenRun(options("decode"), of_arena(ttft.decode_study)),
    "verify": GoldenRun(options("verify", 2), of_arena(verify.study)),
    "verify_media": GoldenRun(
        options("verify", 1, modality=("image", "video"), sizes=SMALL, refused=NOT_TAKEN), of_arena(verify.study)
    ),
    "mm": GoldenRun(options("mm", tokens=0, modality=("image",), sizes=SMALL, refused=NOT_TAKEN), of_arena(mm.study)),
    "storage": GoldenRun(
        options("storage", input_lens=(320, 576, 1088, 2112)),
        of_arena(storage.study, measure_speed=volume, measured=VOLUME),
    ),
    "sweep": GoldenRun(
        options("sweep", 1, num_prompts=3, max_concurrency=(1,), request_rate=(1000.0,), goodput={"ttft": 500}),
        of_arena(sweep.study),
        under_load,
    ),
    "peer": GoldenRun(options("peer", 12, num_prompts=3), of_clients, one_second),
}


@contextmanager
def four_engines() -> Iterator[Topology]:
    with ExitStack() as running:
        shared = Volume()
        volumes = {"plain-a": None, "plain-b": None, "lmcache-a": shared, "lmcache-b": shared}
        fakes = [FakeEngine(name, Behaviour(tokens_per_chunk=1), of) for name, of in volumes.items()]
        yield topology_of([running.enter_context(fake) for fake in fakes])


def timed(reply: Reply, number: int) -> Reply:
    """With times that are a function of what was computed, and of how many requests were sent before."""
    usage, stores = reply.usage, reply.engine.startswith("lmcache")
    cached = usage.cached_tokens or 0
    computed = usage.prompt_tokens - cached
    shared = bool(reply.sources and reply.sources.shared)
    ttft = (50 + 0.5 * computed + 2e-4 * computed**2 + 200 * shared + 0.02 * cached * shared + number % 7) / 1e3
    gap = 0.04 if stores and not cached else 0.03
    itl = (gap,) * len(reply.itl)
    server = ServerTimes(0.002, ttft - 0.005, sum(itl) + number % 3 * 1e-3)
    return replace(reply, ttft=ttft, itl=itl, e2el=ttft + sum(itl), server=server)


def a_context(run: GoldenRun) -> MeasureContext:
    numbers, clock, nonces = itertools.count(), itertools.count(step=0.5), itertools.count(1)
    made_up: dict[str, Any] = {"clock": lambda: float(next(clock)), "nonce": lambda: f"{next(nonces) * 7919:016x}"}
    if run.ask:
        return a_bench(run.ask, **made_up)

    async def ask(engine: Engine, prompt: Prompt) -> Reply:
        return timed(await MeasureContext().ask(engine, prompt), next(numbers))

    return MeasureContext(ask=ask, **made_up)


def run_golden(name: str, folder: Path) -> str:
    """result.json of a run, with a made-up machine in it."""
    run = RUNS[name]
    past = PreviousRun("00ff", "2026-11-26T12:00:00+00:00", f"./arena bench {run.options.kind}")
    with four_engines() as topology:
        asyncio.run(
            run_experiment(
                run.study(run.options, topology),
                run.options,
                topology.engines[:2] if run.options.base_url else topology.engines,
                folder,
                lambda _: None,
                command=past.command,
                past=past,
                stack={"model": "fake", "kv_serde": "aesgcm"},
                bench=a_context(run),
                check=describe_engines if run.options.base_url else preflight,
            )
        )
    result = json.loads((folder / "result.json").read_text())
    result["host"] = {"machine": "x86_64", "cpu": "a CPU", "cpus": 2, "memory_gb": 24.0, "kernel": "6.8.0", "gpus": []}
    result["versions"]["python"] = "3.11.14"
    if "peer" in result:  # CPU time of this process
        result["peer"]["cpu_ms_per_request"]["arena"] = 4.0
        for sample in result["samples"]:
            sample["cpu_ms"] = 4.0 if sample["arm"] == "arena" else sample["cpu_ms"]
    return json.dumps(result, indent=1) + "\n"


def main() -> None:
    from bench.report.render import render_reports
    from bench.result_io import read_result

    GOLDEN.mkdir(exist_ok=True)
    for name in RUNS:
        with TemporaryDirectory() as folder:
            file = GOLDEN / f"{name}.json"
            file.write_text(run_golden(name, Path(folder)))
            (GOLDEN / f"{name}.md").write_text(render_reports(read_result(file))["report.md"])


if __name__ == "__main__":
    main()
