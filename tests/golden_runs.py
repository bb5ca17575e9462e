"""A small run of each kind against fake engines. Clock, nonces and times are made up, so that every run has the same
result, which is in tests/bench/golden. WRITE_GOLDEN=1 pytest tests/bench/test_golden_results.py rewrites the results.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench_rows import a_bench
from fake_engine import FakeEngine, Volume, topology_of
from fakes import a_reply

from bench.experiment import Experiment
from bench.measure import MeasureContext
from bench.media_prompts import Sizes
from bench.options import Options
from bench.plan import EngineRoles, assign_plain_pair, assign_roles
from bench.preflight import describe_engines, preflight
from bench.questions import budget, mm, peer, storage, sweep, ttft, verify
from bench.runner import PreviousRun, run_experiment
from cache.load_cost import LoadCost
from client.prompt import Prompt
from client.reply import HistogramTimes, Reply, ServerTimes
from config.topology import Engine, Topology

SPEED = {"gb_per_s": 2.0, "method": "O_DIRECT", "reason": None}
REFUSED = {"gb_per_s": None, "method": None, "reason": "overlay: O_DIRECT is refused"}
VOLUME: dict[str, Any] = {"tool": "fio", "path": "/kv", "filesystem": "ext4", "note": None, "chunk_bytes": 5_898_240}
VOLUME |= {"bytes_per_token": 23_040.0, "workers": 8}
VOLUME |= {"read_cached": SPEED, "read_device": REFUSED, "write_device": SPEED}
VOLUME |= {"sequential": {"read_cached": SPEED, "read_device": SPEED, "write": SPEED}}
MEDIA = {
    "sizes": Sizes(image=(32, 32), images=(32, 32), video=(32, 32), frames=2, seconds=0.2),
    "refused": {"video": "plain-a: HTTP 400: At most 0 video_url may be provided in one prompt."},
}
HOST = {"machine": "x86_64", "cpu": "a CPU", "cpus": 2, "memory_gb": 24.0, "kernel": "6.8.0", "gpus": []}
FILES = budget.KVFiles(frozenset, lambda _: LoadCost(23_040 * 1024, 0.012, 0.06), lambda _: False)


async def never(_say: Any) -> Mapping[str, Any]:
    raise AssertionError("the volume was measured before")


def between_clients(options: Options, roles: EngineRoles) -> Experiment:
    """Returns `bench peer` against a client that sends nothing."""

    def theirs(_engine: Engine, _prompt: Prompt, count: int) -> peer.Times:
        return [1.01] * count, 0.01 * count

    return replace(
        ttft.study(options, roles),
        arms=(peer.OURS, peer.THEIRS),
        units=peer.blocks(options, next(iter(roles.values()))[0]),
        summary=peer.summary,
        measure=partial(peer.measure_block, theirs),
    )


def of(kind: str, documents: int = 5, tokens: int = 1100, **more: Any) -> Options:
    return Options(kind=kind, **{"input_lens": (tokens,) * documents, "output_len": 4, "num_warmups": 0, **more})


RUNS: dict[str, tuple[Callable[..., Experiment], Options]] = {
    "ttft": (ttft.study, of("ttft", save_detailed=True, metadata={"gpu": "none"})),
    "two_servers": (ttft.two_servers_study, of("ttft", base_url=("http://a", "http://b"))),
    "aa": (ttft.aa_study, of("aa")),
    "decode": (ttft.decode_study, of("decode")),
    "verify": (verify.study, of("verify", 2)),
    "verify_media": (verify.study, of("verify", 1, modality=("image", "video"), **MEDIA)),
    "mm": (mm.study, of("mm", tokens=0, modality=("image",), **MEDIA)),
    "storage": (
        partial(storage.study, measure_speed=never, measured=VOLUME),
        of("storage", input_lens=(320, 576, 1088, 2112)),
    ),
    "budget": (
        partial(budget.study, files=FILES, measure_speed=never, measured=VOLUME),
        of("budget", input_lens=(576, 1088, 2112, 1088)),
    ),
    "sweep": (
        sweep.study,
        of("sweep", 1, num_prompts=3, max_concurrency=(1,), request_rate=(1000.0,), goodput={"ttft": 500}),
    ),
    "peer": (between_clients, of("peer", 12, num_prompts=3)),
}


async def without_network(engine: Engine, _prompt: Prompt) -> Reply:
    """Answers without HTTP, for runs with several requests in flight or whose CPU cost is measured."""
    shared = engine.name == "lmcache-b"
    return a_reply(engine, ttft=0.4 if shared else 1.0, prompt=1100, cached=1024 if shared else 0)


def timed(reply: Reply, number: int) -> Reply:
    """Replaces a reply's times by ones that depend on its computed tokens and on the number of earlier requests."""
    cached = reply.usage.cached_tokens or 0
    computed, shared = reply.usage.prompt_tokens - cached, bool(reply.sources and reply.sources.shared)
    ttft = (50 + 0.5 * computed + 2e-4 * computed**2 + shared * (200 + 0.02 * cached) + number % 7) / 1e3
    itl = (0.04 if reply.engine.startswith("lmcache") and not cached else 0.03,) * len(reply.itl)
    lookup = 0.12 if shared else 0.001
    queue = lookup + (0.03 if shared else 0.001)
    server = ServerTimes(queue, ttft - queue - 0.003, sum(itl) + number % 3 * 1e-3)
    loads = reply.engine.startswith("lmcache")
    times = HistogramTimes(ttft - 0.001, lookup if loads else None, 0.25 if shared else None)
    return replace(reply, ttft=ttft, itl=itl, e2el=ttft + sum(itl), server=server, histograms=times)


def a_context(kind: str) -> MeasureContext:
    numbers, clock, nonces = itertools.count(), itertools.count(step=0.5), itertools.count(1)
    made_up: dict[str, Any] = {"clock": lambda: float(next(clock)), "nonce": lambda: f"{next(nonces) * 7919:016x}"}

    async def ask(engine: Engine, prompt: Prompt) -> Reply:
        return timed(await MeasureContext().ask(engine, prompt), next(numbers))

    return a_bench(without_network, **made_up) if kind in ("sweep", "peer") else MeasureContext(ask=ask, **made_up)


@contextmanager
def four_engines() -> Iterator[Topology]:
    shared = Volume()
    volumes = {"plain-a": None, "plain-b": None, "lmcache-a": shared, "lmcache-b": shared}
    with ExitStack() as running:
        yield topology_of([running.enter_context(FakeEngine(name, volume=of)) for name, of in volumes.items()])


def rounded(number: str) -> float:
    """Rounds a number to the digits that are the same on all processors."""
    return float(f"{float(number):.10g}")


def run_golden(name: str, folder: Path) -> str:
    """Runs one kind, and returns its result.json with the facts of a made-up machine."""
    study, options = RUNS[name]
    past = PreviousRun("00ff", "2026-11-26T12:00:00+00:00", f"./arena bench {options.kind}")
    with four_engines() as topology:
        pair, external = topology.engines[:2], bool(options.base_url)
        run = run_experiment(
            study(options, assign_plain_pair(*pair) if external else assign_roles(topology)),
            options,
            pair if external else topology.engines,
            folder,
            lambda _: None,
            past=past,
            stack={"model": "fake", "kv_serde": "aesgcm"},
            bench=a_context(options.kind),
            check=describe_engines if external else preflight,
        )
        asyncio.run(run)
    result = json.loads((folder / "result.json").read_text(), parse_float=rounded)
    result["host"] = HOST
    result["versions"]["python"] = "3.11.14"
    if "peer" in result:  # CPU time of this process
        result["peer"]["cpu_ms_per_request"]["arena"] = 4.0
        for sample in result["samples"]:
            sample["cpu_ms"] = 4.0 if sample["arm"] == "arena" else sample["cpu_ms"]
    return json.dumps(result, indent=1) + "\n"
