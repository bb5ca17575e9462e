"""`./arena bench ttft | mm | aa | storage | budget | sweep | decode | verify | peer | report | compare`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import regression, result_io
from bench.cli import err, out, run_benchmark, save, show
from bench.cli_options import (
    ALWAYS,
    INPUT_LEN,
    MEDIA,
    SHARED,
    STATISTICS,
    BaseUrls,
    ExtraBody,
    Gain,
    InputLen,
    InputLens,
    Json,
    Model,
    MultiValueGroup,
    NumPrompts,
    extra_body_fields,
    goodput_limits,
    shared_fields,
)
from bench.options import Options
from bench.questions import budget, mm, peer, storage, sweep, ttft, verify
from bench.result import Result
from config.errors import ConfigError
from config.exit_codes import run_app

app = typer.Typer(cls=MultiValueGroup, no_args_is_help=True, add_completion=False)

Fields = Mapping[str, Any]  # fields of `Options`


@app.callback()
def main() -> None:
    """TTFT of plain and KV-sharing engines, measured side by side in one run.

    Exit codes: 0 for a result that holds, 1 for one that does not (or no result), 2 for wrong usage.
    """


def question(
    kind: str, holds: Callable[[Result], bool], *more: str, **defaults: Any
) -> Callable[[Callable[..., Fields]], Callable[..., None]]:
    """A decorator that turns a function from a command's own options to fields of `Options` into a command.

    The command also has the options in `ALWAYS` and `more`, which SHARED declares; `defaults` override its defaults.
    """
    names = [name for name in SHARED if name in (*ALWAYS, *more)]

    def decorate(own: Callable[..., Fields]) -> Callable[..., None]:
        mine = list(inspect.signature(own, eval_str=True).parameters.values())
        shared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, SHARED[name][1]),
                annotation=SHARED[name][0],
            )
            for name in names
        ]

        @wraps(own)
        def command(**chosen: Any) -> None:
            fields = own(**{parameter.name: chosen.pop(parameter.name) for parameter in mine})
            folder, resume, json_file = (chosen.pop(name) for name in ("result_dir", "resume", "json_file"))
            gain = chosen.pop("expected_ttft_gain", None)
            result = run_benchmark(Options(kind=kind, **fields, **shared_fields(chosen)), folder, resume, json_file)
            passed = holds(result)
            if gain is not None:
                outcome = regression.check_expected_gain(result, gain)
                err.print(outcome.says)
                passed = passed and outcome.passed
            raise typer.Exit(0 if passed else 1)

        command.__signature__ = inspect.Signature([*mine, *shared])  # type: ignore[attr-defined]  # Typer reads it
        return app.command(kind)(command)

    return decorate


@question("ttft", ttft.holds, *STATISTICS, "expected_ttft_gain", "prepare")
def ttft_(
    num_prompts: NumPrompts = 12,
    input_len: InputLen = INPUT_LEN,
    base_url: BaseUrls = None,
    model: Model = None,
    extra_body: ExtraBody = None,
) -> Fields:
    """How much sooner does a shared document start?

    Every document goes through six arms in random order: cold, own-warm and other instance on the plain pair; first
    sight, cross-read and own-warm on the LMCache pair. A sample counts only if the number and the source of its cached
    tokens are what its arm requires. Half-way, the engines of each pair swap roles.

    With --base-url twice, each document is sent cold to the first server and then to the second, which is compared
    with its own cold start.
    """
    urls = tuple(base_url or ())
    fields = {"base_url": urls, "model": model, "extra_body": extra_body_fields(extra_body, urls)}
    return {"input_lens": (input_len,) * num_prompts, **fields}


@question("mm", mm.holds, *STATISTICS, *MEDIA, "prepare", output_len=16)
def mm_(
    num_prompts: Annotated[int, typer.Option(min=1, max=10_000, help="Fresh documents of each modality.")] = 6,
) -> Fields:
    """How much sooner do shared media start, and are they ever mistaken for each other?

    Each document is a new image, two images, a video or a sound, and goes through nine arms: cold, own-warm, and under
    another nonce (preprocessed, but no KV); first sight and cross-read on the LMCache pair; then another question, and
    other media in the same position, whose tokens must not be cached; and the plain engine's answers to both media.
    Without --modality, all modalities that the model supports are measured. Exit code 1 if a modality makes no claim,
    or if media were mixed up.
    """
    return {"input_lens": (0,) * num_prompts}


@question("aa", ttft.aa_holds, *STATISTICS)
def aa_(num_prompts: NumPrompts = 12, input_len: InputLen = INPUT_LEN) -> Fields:
    """The noise floor: plain-a against plain-b. Exit code 1 if the two identical engines can be told apart."""
    return {"input_lens": (input_len,) * num_prompts}


@question("storage", storage.holds, *STATISTICS, "prepare", output_len=4)
def storage_(
    num_prompts: Annotated[int, typer.Option(min=1, max=1000, help="Fresh documents of each length.")] = 3,
    input_len: InputLens = None,
) -> Fields:
    """How fast is the KV volume, and above which prompt length does sharing win on it?

    Measures the volume's bandwidth with fio (apt-get install fio), then TTFT of recomputing and of loading at each
    length, and confirms the break-even at half and at twice its length. Exit code 1 if it is not confirmed.
    """
    lengths = tuple(input_len or storage.LENGTHS)
    if len(set(lengths)) < storage.MIN_LENGTHS:
        raise ConfigError(f"--input-len: a break-even takes at least {storage.MIN_LENGTHS} lengths, name more")
    return {"input_lens": lengths * num_prompts}


@question("budget", budget.holds, *STATISTICS, "prepare", output_len=8)
def budget_(
    num_prompts: Annotated[int, typer.Option(min=1, max=1000, help="Fresh documents of each length.")] = 4,
    input_len: InputLens = None,
) -> Fields:
    """Where does a TTFT go: storage, decryption, or the tail of the prompt?

    Splits the TTFT of cold, own-warm, first sight and cross-read at each length into parts that the engine, its cache
    server and this command have measured, and shows the physical limit beside it, for which fio measures the volume
    (apt-get install fio). Exit code 1 if less than 90 % of a TTFT can be attributed, or an arm has no sample that
    counts.
    """
    return {"input_lens": tuple(input_len or budget.LENGTHS) * num_prompts}


@question("decode", ttft.holds, *STATISTICS, output_len=64)
def decode_(num_prompts: NumPrompts = 8, input_len: InputLen = INPUT_LEN) -> Fields:
    """How much does storing slow down the tokens generated meanwhile? Time per token, first sight against cold.

    The other plain engine answers too, because the difference between the two plain engines is noise.
    """
    return {"input_lens": (input_len,) * num_prompts}


@question("verify", verify.holds, "num_warmups", "prepare", *MEDIA)
def verify_(
    num_prompts: NumPrompts = 10,
    input_len: Annotated[int, typer.Option(min=1024, max=1_000_000, help="Tokens of each whole prompt.")] = INPUT_LEN,
) -> Fields:
    """Does the fast path give the right answer? Exit code 1 if noise does not explain a difference.

    Compares the highest log-probabilities of each token between a cross-read and a plain engine, up to where the texts
    diverge. The noise floor is the difference of that engine from itself, cold against own-warm. Texts may diverge only
    at a near-tie, and the cross-read must find the needle in each document if the plain engine does. With --modality,
    as many documents of media are tested too: almost identical media must never share KV, and identical ones in another
    form must.
    """
    return {"input_lens": (input_len,) * num_prompts}


@question("sweep", sweep.holds, "num_warmups", "save_detailed", output_len=16)
def sweep_(
    num_prompts: Annotated[int, typer.Option(min=1, max=10_000, help="Requests of each cell.")] = 8,
    input_len: InputLens = None,
    max_concurrency: Annotated[
        list[int] | None, typer.Option(min=1, help="Closed loop: at most so many in flight; repeat it for more.")
    ] = None,
    request_rate: Annotated[
        list[float] | None, typer.Option(min=0.001, help="Open loop: requests a second; repeat it for more.")
    ] = None,
    burstiness: Annotated[float, typer.Option(min=0.01, help="Shape of the gaps; 1 is Poisson, less is burstier.")] = 1,
    goodput: Annotated[
        list[str] | None, typer.Option(metavar="METRIC:MS...", help="ttft:500, tpot:50 or e2el:2000; one or more.")
    ] = None,
) -> Fields:
    """Does the gain hold under load? Prompt lengths times loads, plain against shared.

    With --request-rate, times count from when a request was scheduled, whatever the engine does; with
    --max-concurrency, the next request waits for one to end. The time that requests wait in the client is shown. Exit
    code 1 if more than a fifth of a cell's requests do not count.
    """
    return {
        "num_prompts": num_prompts,
        "input_lens": tuple(input_len or (1024, 4096)),
        "max_concurrency": tuple(max_concurrency or (() if request_rate else (1, 4))),
        "request_rate": tuple(request_rate or ()),
        "burstiness": burstiness,
        "goodput": goodput_limits(goodput or ()),
    }


@question("peer", peer.holds, "confidence_level", output_len=8)
def peer_(
    num_prompts: Annotated[int, typer.Option(min=2, max=1000, help="Requests of each block.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of four blocks: ours, theirs, theirs, ours.")] = 2,
    input_len: InputLen = 1000,
) -> Fields:
    """Does this client measure what `vllm bench serve` measures, on the same engine and prompts?

    It also compares the clients' CPU time. Exit code 1 if the two clients can be told apart by TTFT.
    """
    return {"input_lens": (input_len,) * (2 * rounds * num_prompts), "num_prompts": num_prompts}


@app.command("report")
def report_(
    result: Annotated[Path, typer.Argument(help="A result folder, or its result.json.")],
    json_file: Json = None,
) -> None:
    """Render a result again: as a table here, and as report.md and report.html beside it. Needs no engine."""
    found = result_io.read_result(result)
    show(found, result if result.is_dir() else result.parent, json_file)


@app.command("compare")
def compare_(
    old: Annotated[Path, typer.Argument(help="A result folder, or its result.json.")],
    new: Annotated[Path, typer.Argument(help="The one to hold against it.")],
    expected_ttft_gain: Gain = None,
    json_file: Annotated[str | None, typer.Option("--json", help="Write it to this file too; - is stdout.")] = None,
) -> None:
    """Is a new result as good as an old one? Exit code 1 if its whole interval lies below the old one's.

    It compares speed-ups, which only results of ttft, aa, decode and peer have.
    """
    before, after = result_io.read_result(old), result_io.read_result(new)
    findings = [regression.compare_results(before, after)]
    if expected_ttft_gain is not None:
        findings.append(regression.check_expected_gain(after, expected_ttft_gain))
    found = regression.comparison_json(findings, regression.differences(before, after))
    console = err if json_file == "-" else out
    for finding in findings:
        console.print(finding.says)
    for line in found["differences"]:
        console.print(f"  {line}")
    save(found, json_file)
    raise typer.Exit(0 if found["passed"] else 1)


if __name__ == "__main__":
    run_app(app)
