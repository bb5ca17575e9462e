"""`./arena bench ttft | verify`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import record, report, ttft, verify
from engines.door import run, settings_of_the_caller
from engines.errors import ConfigError
from engines.settings import Settings
from engines.topology import Topology

app = typer.Typer(no_args_is_help=True, add_completion=False)
out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

NumPrompts = Annotated[
    int,
    typer.Option("--num-prompts", min=1, max=10_000, help="Fresh documents; each goes through every arm."),
]
InputLen = Annotated[int, typer.Option("--input-len", min=512, max=1_000_000, help="Tokens of each whole prompt.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result, raw rows included, to this file.")]


@app.callback()
def main() -> None:
    """TTFT of plain and KV-sharing engines, measured side by side in one run."""


@app.command("ttft")
def ttft_(num_prompts: NumPrompts = 5, input_len: InputLen = 7000, json_file: JsonFile = None) -> None:
    """How much sooner does a shared document start?

    Each document goes cold to a plain engine, to the other plain engine, for the first time to lmcache-a, then to
    lmcache-b, which reads what the first stored, and to lmcache-b again. A sample counts only if its cached tokens, and
    where they came from, are what its arm demands. About half a minute a document on two cores.
    """
    settings, topology = _four_engines()
    record.check(json_file)
    result = asyncio.run(_ttft(settings, topology, num_prompts, input_len, json_file))
    for fault in report.faults(result):
        err.print(f"not counted: {fault}")
    out.print(report.table(result))
    out.print(report.conclusion(result))
    raise typer.Exit(0 if result["comparison"]["speedup"]["n"] else 1)


@app.command("verify")
def verify_(num_prompts: NumPrompts = 10, input_len: InputLen = 7000, json_file: JsonFile = None) -> None:
    """Does the fast path give the right answer? Exit code 1 when noise does not explain a difference.

    For each document, the first token's five best log-probabilities on lmcache-b, which read what lmcache-a stored,
    against plain-a's; the noise floor is plain-a against itself, cold and own-warm, over the same documents.
    """
    _, topology = _four_engines()
    record.check(json_file)
    comparisons = asyncio.run(_verify(topology, num_prompts, input_len))
    verdict = verify.verdict(comparisons)
    out.print(
        f"noise floor {verdict.floor:.3f} nats, worst cross-read {verdict.worst:.3f} nats, n = {len(comparisons)}"
    )
    same, same_plain = sum(c.same_text for c in comparisons), sum(c.same_text_plain for c in comparisons)
    out.print(
        f"equal texts, of {len(comparisons)}: cross-read and cold {same}; own-warm and cold on plain-a {same_plain}"
    )
    out.print(
        "The fast path gives the right answer."
        if verdict.agrees
        else "The answers differ by more than the noise floor explains."
    )
    if json_file:
        rows = [asdict(comparison) for comparison in comparisons]
        record.write(json_file, {"verdict": {**asdict(verdict), "agrees": verdict.agrees}, "comparisons": rows})
    raise typer.Exit(0 if verdict.agrees else 1)


async def _ttft(
    settings: Settings, topology: Topology, num_prompts: int, input_len: int, json_file: Path | None
) -> dict[str, Any]:
    """Writes the result after every sample, so that an interrupted run keeps what it has."""
    samples: list[ttft.Sample] = []
    async for sample in ttft.run(topology, num_prompts, input_len):
        samples.append(sample)
        cost = f"{sample.reply.ttft * 1e3:,.0f} ms" if sample.reply else "failed"
        counts = "" if sample.valid else ", not counted"
        err.print(f"document {sample.document + 1} of {num_prompts}, {sample.arm}: {cost}{counts}")
        if json_file:
            record.write(json_file, record.result(samples, settings, num_prompts, input_len))
    return record.result(samples, settings, num_prompts, input_len)


async def _verify(topology: Topology, num_prompts: int, input_len: int) -> list[verify.Comparison]:
    comparisons = []
    async for comparison in verify.run(topology, num_prompts, input_len):
        comparisons.append(comparison)
        cached = f"{comparison.cached_tokens} of {comparison.prompt_tokens} tokens cached"
        nats = f"noise {comparison.noise:.3f}, cross-read {comparison.cross:.3f} nats"
        err.print(f"document {comparison.document + 1} of {num_prompts}: {nats}, {cached}")
    return comparisons


def _four_engines() -> tuple[Settings, Topology]:
    settings = settings_of_the_caller()
    if settings.engines != 4:
        raise ConfigError("the benchmark compares plain with shared and needs all four engines: set ENGINES=4")
    return settings, Topology.of(settings)


if __name__ == "__main__":
    run(app)
