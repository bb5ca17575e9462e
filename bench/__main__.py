"""`./arena bench ttft | mm | aa | storage | sweep | decode | verify | peer | report | compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import cli_options, regression, result_io
from bench.cli import err, out, run_benchmark, save, show
from bench.cli_options import (
    DEFAULT_SIZES,
    IMAGE,
    IMAGES,
    INPUT_LEN,
    VIDEO,
    AudioSeconds,
    Detailed,
    ExtraBody,
    Gain,
    ImageSize,
    ImagesSize,
    InputLen,
    Json,
    Label,
    Level,
    Metadata,
    Modalities,
    NumFrames,
    NumPrompts,
    NumWarmups,
    OutputLen,
    PrepareOption,
    ResultDir,
    Resume,
    Seed,
    VideoSize,
)
from bench.multi_value_options import MultiValueGroup
from bench.options import Options
from bench.questions import storage, sweep
from config.errors import ConfigError
from config.exit_codes import run_app

app = typer.Typer(cls=MultiValueGroup, no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """TTFT of plain and KV-sharing engines, measured side by side in one run.

    Exit codes: 0 for a result that holds, 1 for one that does not (or no result), 2 for wrong usage.
    """


@app.command("ttft")
def ttft_(
    num_prompts: NumPrompts = 12,
    input_len: InputLen = INPUT_LEN,
    output_len: OutputLen = 32,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    base_url: Annotated[
        list[str] | None,
        typer.Option(help="Twice: any two OpenAI-compatible servers instead of the arena's engines."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --base-url: the model's name there.")] = None,
    extra_body: ExtraBody = None,
    expected_ttft_gain: Gain = None,
    prepare: PrepareOption = None,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """How much sooner does a shared document start?

    Every document goes through six arms in random order: cold, own-warm and on the other instance of the plain pair;
    first sight, cross-read and own-warm on the LMCache pair. A sample counts only if its cached tokens, and where they
    came from, are what its arm demands. Half-way the engines of each pair swap roles.

    With --base-url twice: cold on the first server, then on the second, which is held against its own cold start.
    """
    options = Options(
        kind="ttft",
        input_lens=(input_len,) * num_prompts,
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        confidence_level=level,
        save_detailed=save_detailed,
        label=label,
        metadata=cli_options.pairs(metadata),
        base_url=tuple(base_url or ()),
        model=model,
        extra_body=cli_options.extra_body_option(extra_body, base_url),
        prepare=prepare,
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    holds = result["comparison"]["verdict"] != "no claim"
    if expected_ttft_gain is not None:
        finding = regression.check_expected_gain(result, expected_ttft_gain)
        err.print(finding.says)
        holds = holds and finding.passed
    raise typer.Exit(0 if holds else 1)


@app.command("mm")
def mm_(
    num_prompts: Annotated[int, typer.Option(min=1, max=10_000, help="Fresh documents of each modality.")] = 6,
    modality: Modalities = None,
    image_size: ImageSize = IMAGE,
    images_size: ImagesSize = IMAGES,
    video_size: VideoSize = VIDEO,
    num_frames: NumFrames = DEFAULT_SIZES.frames,
    audio_seconds: AudioSeconds = DEFAULT_SIZES.seconds,
    output_len: OutputLen = 16,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    prepare: PrepareOption = None,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """How much sooner do shared media start, and are they ever taken for each other?

    Each document is an image, two images, a video or a sound that nobody has seen, and goes through nine arms: cold,
    own-warm, and under another nonce (preprocessed, but no KV); first sight and cross-read on the LMCache pair; then
    another question, and other media in the same place, of whose tokens none may be cached, with the plain engine's
    answers to both. Without --modality all that the model takes. Exit code 1 when a modality makes no claim, or media
    were mixed up.
    """
    options = Options(
        kind="mm",
        input_lens=(0,) * num_prompts,
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        confidence_level=level,
        save_detailed=save_detailed,
        label=label,
        metadata=cli_options.pairs(metadata),
        prepare=prepare,
        modality=cli_options.modalities(modality),
        sizes=cli_options.sizes(image_size, images_size, video_size, num_frames, audio_seconds),
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    raise typer.Exit(0 if result["holds"] else 1)


@app.command("aa")
def aa_(
    num_prompts: NumPrompts = 12,
    input_len: InputLen = INPUT_LEN,
    output_len: OutputLen = 32,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """The noise floor: plain-a against plain-b. Exit code 1 when two equal engines can be told apart."""
    options = Options(
        kind="aa",
        input_lens=(input_len,) * num_prompts,
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        confidence_level=level,
        save_detailed=save_detailed,
        label=label,
        metadata=cli_options.pairs(metadata),
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    raise typer.Exit(0 if result["comparison"]["verdict"] == "not distinguishable" else 1)


@app.command("storage")
def storage_(
    num_prompts: Annotated[int, typer.Option(min=1, max=1000, help="Fresh documents of each length.")] = 3,
    input_len: Annotated[list[int] | None, typer.Option(min=64, help="A prompt length; repeat it for more.")] = None,
    output_len: OutputLen = 4,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    prepare: PrepareOption = None,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """How fast is the KV volume, and from which prompt length on does sharing win on it?

    Measures the volume's bandwidth with fio (apt-get install fio), then TTFT of recomputing and of loading at each
    length, and confirms the break-even at half and at twice its length. Exit code 1 when that does not hold.
    """
    lengths = tuple(input_len or storage.LENGTHS)
    if len(set(lengths)) < storage.FEWEST_LENGTHS:
        raise ConfigError(f"--input-len: a break-even takes {storage.FEWEST_LENGTHS} lengths at least, name more")
    options = Options(
        kind="storage",
        input_lens=lengths * num_prompts,
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        confidence_level=level,
        save_detailed=save_detailed,
        label=label,
        metadata=cli_options.pairs(metadata),
        prepare=prepare,
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    confirmed = result["break_even"]["confirmed"]
    raise typer.Exit(0 if confirmed and all(each["holds"] for each in confirmed) else 1)


@app.command("decode")
def decode_(
    num_prompts: NumPrompts = 8,
    input_len: InputLen = INPUT_LEN,
    output_len: OutputLen = 64,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """What does storing cost the tokens that come meanwhile? Time per token, first sight against cold.

    The other plain engine answers too: what two of them differ by is noise.
    """
    options = Options(
        kind="decode",
        input_lens=(input_len,) * num_prompts,
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        confidence_level=level,
        save_detailed=save_detailed,
        label=label,
        metadata=cli_options.pairs(metadata),
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    raise typer.Exit(0 if result["comparison"]["verdict"] != "no claim" else 1)


@app.command("verify")
def verify_(
    num_prompts: NumPrompts = 10,
    input_len: Annotated[int, typer.Option(min=1024, max=1_000_000, help="Tokens of each whole prompt.")] = INPUT_LEN,
    output_len: OutputLen = 32,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    modality: Modalities = None,
    image_size: ImageSize = IMAGE,
    images_size: ImagesSize = IMAGES,
    video_size: VideoSize = VIDEO,
    num_frames: NumFrames = DEFAULT_SIZES.frames,
    audio_seconds: AudioSeconds = DEFAULT_SIZES.seconds,
    prepare: PrepareOption = None,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """Does the fast path give the right answer? Exit code 1 when noise does not explain a difference.

    The best log-probabilities of a cross-read's tokens against a plain engine's, up to where texts part; the noise
    floor is from that engine against itself, cold and own-warm. Texts may part only near a tie, and a needle in each
    document that the plain engine finds must be found. With --modality also as many documents of media, each beside
    others that are almost the same: they must never share KV, and equal ones in another form must.
    """
    options = Options(
        kind="verify",
        input_lens=(input_len,) * num_prompts,
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        label=label,
        metadata=cli_options.pairs(metadata),
        prepare=prepare,
        modality=cli_options.modalities(modality),
        sizes=cli_options.sizes(image_size, images_size, video_size, num_frames, audio_seconds),
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    raise typer.Exit(0 if result["verify"]["agrees"] else 1)


@app.command("sweep")
def sweep_(
    num_prompts: Annotated[int, typer.Option(min=1, max=10_000, help="Requests of each cell.")] = 8,
    input_len: Annotated[list[int] | None, typer.Option(min=64, help="A prompt length; repeat it for more.")] = None,
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
    output_len: OutputLen = 16,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """How does the gain hold under load? Prompt lengths times loads, plain against shared.

    Under --request-rate requests count from when they were meant to be sent, whatever the engine does; under
    --max-concurrency the next waits for one to end. The time that a request waited in the client is shown. Exit code 1
    when over a fifth of a cell's requests do not count.
    """
    options = Options(
        kind="sweep",
        input_lens=tuple(input_len or (1024, 4096)),
        output_len=output_len,
        seed=seed,
        num_warmups=num_warmups,
        save_detailed=save_detailed,
        label=label,
        metadata=cli_options.pairs(metadata),
        num_prompts=num_prompts,
        max_concurrency=tuple(max_concurrency or (() if request_rate else (1, 4))),
        request_rate=tuple(request_rate or ()),
        burstiness=burstiness,
        goodput=sweep.goodput_limits(goodput or ()),
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    raise typer.Exit(0 if sweep.is_sustained(result) else 1)


@app.command("peer")
def peer_(
    num_prompts: Annotated[int, typer.Option(min=2, max=1000, help="Requests of each block.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of four blocks: ours, theirs, theirs, ours.")] = 2,
    input_len: InputLen = 1000,
    output_len: OutputLen = 8,
    seed: Seed = 0,
    level: Level = 0.95,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """Does this client measure what `vllm bench serve` measures, on the same engine and prompts? And its CPU time.

    Exit code 1 when the two clients can be told apart by TTFT.
    """
    options = Options(
        kind="peer",
        input_lens=(input_len,) * (2 * rounds * num_prompts),
        num_prompts=num_prompts,
        output_len=output_len,
        seed=seed,
        confidence_level=level,
        label=label,
        metadata=cli_options.pairs(metadata),
    )
    result = run_benchmark(options, result_dir, resume, json_file)
    raise typer.Exit(0 if result["comparison"]["verdict"] == "not distinguishable" else 1)


@app.command("report")
def report_(
    result: Annotated[Path, typer.Argument(help="A result folder, or its result.json.")],
    json_file: Json = None,
) -> None:
    """Render a result again: a table here, report.md and report.html beside it. Needs no engine."""
    found = result_io.read_result(result)
    show(found, result if result.is_dir() else result.parent, json_file)


@app.command("compare")
def compare_(
    old: Annotated[Path, typer.Argument(help="A result folder, or its result.json.")],
    new: Annotated[Path, typer.Argument(help="The one to hold against it.")],
    expected_ttft_gain: Gain = None,
    json_file: Annotated[str | None, typer.Option("--json", help="Write it to this file too; - is stdout.")] = None,
) -> None:
    """Is a new result as good as an old one? Exit code 1 when its whole interval lies below the old one's.

    It holds speed-ups against each other, so it takes results of ttft, aa, decode and peer.
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
