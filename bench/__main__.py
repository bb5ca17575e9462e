"""`./arena bench ttft | mm | aa | storage | sweep | decode | verify | peer | report | compare`."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import aa, canary, decode, folder, gate, mm, peer, storage, sweep, ttft
from bench.media import MODALITIES, Sizes, pixels, written
from bench.plan import Cast, cast, cast_of
from bench.preflight import introduce
from bench.report.terminal import report as shown
from bench.run import Bench
from bench.session import Past, conduct, preparation, publish, resume
from bench.study import Options, Study
from bench.target import engines_at, sizing
from cache.storage import CHUNK_BYTES, probe
from cache.volume import CHUNK_SIZE, bytes_per_token, namespace
from engines.door import run, settings_of_the_caller
from engines.errors import ArenaError, ConfigError
from engines.results import results_folder, run_folder
from engines.settings import Settings
from engines.topology import Topology

INPUT_LEN = 16 * CHUNK_SIZE + 128  # whole chunks, and room for a question that no cache has

app = typer.Typer(no_args_is_help=True, add_completion=False)
out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

NumPrompts = Annotated[int, typer.Option(min=1, max=10_000, help="Fresh documents; each goes through every arm.")]
InputLen = Annotated[int, typer.Option(min=64, max=1_000_000, help="Tokens of each whole prompt.")]
OutputLen = Annotated[int, typer.Option(min=2, max=100_000, help="Tokens of each answer.")]
Seed = Annotated[int, typer.Option(help="Of the order of arms and of the bootstrap; documents are always new.")]
NumWarmups = Annotated[int, typer.Option(min=0, max=10, help="Rounds before the first measured one.")]
Level = Annotated[float, typer.Option("--confidence-level", min=0.5, max=0.999, help="Of every interval.")]
ResultDir = Annotated[Path | None, typer.Option(help="Folder for result.json and the reports.  [default: results/…]")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --result-dir, as it began.")]
Json = Annotated[str | None, typer.Option("--json", help="Write result.json to this file too; - is stdout.")]
Detailed = Annotated[bool, typer.Option("--save-detailed", help="Raw arrays in every arm, as vLLM saves them.")]
Label = Annotated[str | None, typer.Option(help="A name for this run, kept in the result.")]
Metadata = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Kept in the result; may be repeated.")]
Prepare = Annotated[str | None, typer.Option(help="A command to run before every read: to drop page caches, say.")]
Modalities = Annotated[list[str] | None, typer.Option(help=f"{', '.join(MODALITIES)}; repeat it for more.")]
ImageSize = Annotated[str, typer.Option(metavar="WxH", help="Pixels of a single image.")]
ImagesSize = Annotated[str, typer.Option(metavar="WxH", help="Pixels of each of two images.")]
VideoSize = Annotated[str, typer.Option(metavar="WxH", help="Pixels of a frame.")]
NumFrames = Annotated[int, typer.Option(min=2, max=10_000, help="Of a video, two to a second.")]
AudioSeconds = Annotated[float, typer.Option(min=0.1, max=3600, help="Length of a sound.")]
USUAL = Sizes()
IMAGE, IMAGES, VIDEO = map(written, (USUAL.image, USUAL.images, USUAL.video))
Gain = Annotated[float | None, typer.Option(min=0, help="Exit code 1 unless the interval's lower bound reaches this.")]


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
    expected_ttft_gain: Gain = None,
    prepare: Prepare = None,
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

    With --base-url twice: cold on the first server, then on the second, then on the second again.
    """
    options = _options("ttft", [input_len] * num_prompts, locals())
    result = _measure(options, result_dir, resume, json_file)
    holds = result["comparison"]["verdict"] != "no claim"
    if expected_ttft_gain is not None:
        finding = gate.expected_gain(result, expected_ttft_gain)
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
    num_frames: NumFrames = USUAL.frames,
    audio_seconds: AudioSeconds = USUAL.seconds,
    output_len: OutputLen = 16,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    prepare: Prepare = None,
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
    options = _options("mm", [0] * num_prompts, locals())
    result = _measure(options, result_dir, resume, json_file)
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
    options = _options("aa", [input_len] * num_prompts, locals())
    result = _measure(options, result_dir, resume, json_file)
    raise typer.Exit(0 if result["comparison"]["verdict"] == "not distinguishable" else 1)


@app.command("storage")
def storage_(
    num_prompts: Annotated[int, typer.Option(min=1, max=1000, help="Fresh documents of each length.")] = 3,
    input_len: Annotated[list[int] | None, typer.Option(min=64, help="A prompt length; repeat it for more.")] = None,
    output_len: OutputLen = 4,
    seed: Seed = 0,
    num_warmups: NumWarmups = 1,
    level: Level = 0.95,
    prepare: Prepare = None,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """How fast is the KV volume, and from which prompt length on does sharing win on it?

    Measures the volume's bandwidth (with fio where it is installed), then TTFT of recomputing and of loading at each
    length, and confirms the break-even at half and at twice its length. Exit code 1 when that does not hold.
    """
    lengths = [length for _ in range(num_prompts) for length in (input_len or storage.LENGTHS)]
    options = _options("storage", lengths, locals())
    result = _measure(options, result_dir, resume, json_file)
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
    """What does storing cost the tokens that come meanwhile? Time per token, first sight against cold."""
    options = _options("decode", [input_len] * num_prompts, locals())
    result = _measure(options, result_dir, resume, json_file)
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
    num_frames: NumFrames = USUAL.frames,
    audio_seconds: AudioSeconds = USUAL.seconds,
    prepare: Prepare = None,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """Does the fast path give the right answer? Exit code 1 when noise does not explain a difference.

    The first token's five best log-probabilities of a cross-read against a plain engine's; the noise floor is that
    engine against itself, cold and own-warm. Texts are compared to where they part, and a needle in each document that
    the plain engine finds must be found. With --modality also as many documents of media, each beside others that are
    almost the same: they must never share KV, and equal ones in another form must.
    """
    options = _options("verify", [input_len] * num_prompts, locals())
    result = _measure(options, result_dir, resume, json_file)
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
        list[str] | None, typer.Option(metavar="METRIC:MS", help="ttft:500, tpot:50 or e2el:2000; may be repeated.")
    ] = None,
    output_len: OutputLen = 16,
    seed: Seed = 0,
    result_dir: ResultDir = None,
    resume: Resume = False,
    json_file: Json = None,
    save_detailed: Detailed = False,
    label: Label = None,
    metadata: Metadata = None,
) -> None:
    """How does the gain hold under load? Prompt lengths times loads, plain against shared.

    Under --request-rate requests count from when they were meant to be sent, whatever the engine does; under
    --max-concurrency the next waits for one to end. The time that a request waited in the client is shown.
    """
    closed = max_concurrency or ([] if request_rate else [1, 4])
    options = _options("sweep", input_len or [1024, 4096], {**locals(), "num_warmups": 0}).model_copy(
        update={
            "num_prompts": num_prompts,
            "max_concurrency": tuple(closed),
            "request_rate": tuple(request_rate or ()),
            "burstiness": burstiness,
            "goodput": sweep.promises(goodput or ()),
        }
    )
    left = None
    if resume:
        path = _named(result_dir)
        options, left = sweep.resume(path)
    else:
        path = folder.claim(result_dir or run_folder(results_folder(), "sweep"))
    _, topology = _four_engines()
    measured = sweep.conduct(options, topology, path, err.print, command=_command(), left=left)
    with _kept(path):
        result = asyncio.run(measured)
    _show(result, path, json_file)
    raise typer.Exit(0 if all(cell["completed"] for cell in result["cells"]) else 1)


@app.command("peer")
def peer_(
    num_prompts: Annotated[int, typer.Option(min=2, max=1000, help="Requests of each block.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of four blocks: ours, theirs, theirs, ours.")] = 2,
    input_len: InputLen = 1000,
    output_len: OutputLen = 8,
    json_file: Json = None,
) -> None:
    """Does this client measure what `vllm bench serve` measures, on the same engine and prompts? And its CPU time."""
    settings, topology = _four_engines()
    found = asyncio.run(peer.run(topology.engines[0], settings, input_len, output_len, num_prompts, rounds, err.print))
    console = err if json_file == "-" else out
    for name in ("arena", "vllm_bench_serve"):
        client = found[name]
        spread = f"{client['min_ttft_ms']:,.0f} to {client['max_ttft_ms']:,.0f}"
        cpu = f"{client['cpu_ms_per_request']:.1f} ms"
        console.print(
            f"{name}: median TTFT {client['median_ttft_ms']:,.1f} ms ({spread}, n = {client['completed']}), "
            f"CPU per request {cpu}"
        )
    console.print(f"ratio of the medians: {found['median_ttft_ratio']:.3f}")
    _save(found, json_file)


@app.command("report")
def report_(
    result: Annotated[Path, typer.Argument(help="A result folder, or its result.json.")],
    json_file: Json = None,
) -> None:
    """Render a result again: a table here, report.md and report.html beside it. Needs no engine."""
    found = folder.read(result)
    _show(found, result if result.is_dir() else result.parent, json_file)


@app.command("compare")
def compare_(
    old: Annotated[Path, typer.Argument(help="A result folder, or its result.json.")],
    new: Annotated[Path, typer.Argument(help="The one to hold against it.")],
    expected_ttft_gain: Gain = None,
) -> None:
    """Is a new result as good as an old one? Exit code 1 when its whole interval lies below the old one's."""
    before, after = folder.read(old), folder.read(new)
    findings = [gate.compare(before, after)]
    if expected_ttft_gain is not None:
        findings.append(gate.expected_gain(after, expected_ttft_gain))
    for finding in findings:
        out.print(finding.says)
    for line in gate.differences(before, after):
        out.print(f"  {line}")
    raise typer.Exit(0 if all(finding.passed for finding in findings) else 1)


def _options(kind: str, input_lens: Sequence[int], given: Mapping[str, Any]) -> Options:
    pairs = [text.partition("=") for text in given.get("metadata") or ()]
    if bad := [key for key, equals, _ in pairs if not key or not equals]:
        raise ConfigError(f"--metadata {bad[0]} has no value: write KEY=VALUE")
    return Options(
        kind=kind,
        input_lens=tuple(input_lens),
        output_len=given["output_len"],
        seed=given["seed"],
        num_warmups=given["num_warmups"],
        confidence_level=given.get("level", 0.95),
        save_detailed=given.get("save_detailed", False),
        label=given["label"],
        metadata={key: value for key, _, value in pairs},
        base_url=tuple(given.get("base_url") or ()),
        model=given.get("model"),
        prepare=given.get("prepare"),
        modality=_modalities(given.get("modality") or ()),
        sizes=_sizes(given) if "modality" in given else Sizes(),
    )


def _modalities(named: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in named if name not in MODALITIES]:
        raise ConfigError(f"--modality {unknown[0]} is none: choose {', '.join(MODALITIES)}")
    return tuple(dict.fromkeys(named))


def _sizes(given: Mapping[str, Any]) -> Sizes:
    image, images, video = (pixels(given[name]) for name in ("image_size", "images_size", "video_size"))
    return Sizes(image=image, images=images, video=video, frames=given["num_frames"], seconds=given["audio_seconds"])


def _measure(options: Options, result_dir: Path | None, resuming: bool, json_file: str | None) -> dict[str, Any]:
    """From the choices to the shown result; what a resumed run began with goes before what is chosen now."""
    past: Past | None = None
    if resuming:
        kind, path = options.kind, _named(result_dir)
        options, past = resume(path)
        if options.kind != kind:
            raise ConfigError(f"{path} holds a run of bench {options.kind}: resume it with that")
    else:
        path = folder.claim(result_dir or run_folder(results_folder(), options.kind))
    with _kept(path):
        result = asyncio.run(_conduct(options, path, past))
    _show(result, path, json_file)
    return result


def _named(result_dir: Path | None) -> Path:
    if result_dir is None:
        raise ConfigError("--resume goes on with the run in --result-dir: name the folder")
    return result_dir


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


async def _conduct(options: Options, path: Path, past: Past | None) -> dict[str, Any]:
    measured = partial(conduct, options=options, path=path, say=err.print, command=_command(), past=past)
    if options.base_url:
        pair = await engines_at(options.base_url, options.model)
        bench = Bench(prepare=preparation(options.prepare), sized=sizing())
        return await measured(ttft.foreign(options, cast(*pair)), engines=pair, bench=bench, check=introduce)
    settings, topology = _four_engines()
    bench = Bench(prepare=preparation(options.prepare))
    if past is None and (options.kind == "mm" or options.modality):
        options = await _taken(options, topology, bench)
        measured = partial(measured, options=options)
    return await measured(_study(options, settings, cast_of(topology)), engines=topology.engines, bench=bench)


async def _taken(options: Options, topology: Topology, bench: Bench) -> Options:
    """The options with what the model refuses; a resumed run has them from its beginning."""
    refused = await mm.refused(options, topology.engines[0], bench)
    for modality, why in refused.items():
        err.print(f"{modality} is refused: {why}")
    return options.model_copy(update={"refused": refused})


def _study(options: Options, settings: Settings, cast: Cast) -> Study:
    studies: Mapping[str, Callable[[Options, Cast], Study]] = {
        "ttft": ttft.study,
        "aa": aa.study,
        "decode": decode.study,
        "mm": mm.study,
        "verify": canary.study,
    }
    if options.kind != "storage":
        return studies[options.kind](options, cast)
    per_token = bytes_per_token(namespace(settings))
    bandwidth = probe(
        settings.kv_store_dir,
        chunk_bytes=round(per_token * CHUNK_SIZE) if per_token else CHUNK_BYTES,
        progress=lambda step: err.print(f"KV volume, {step}"),
    )
    return storage.study(options, cast, bandwidth, per_token)


def _show(result: Mapping[str, Any], path: Path, json_file: str | None) -> None:
    publish(result, path)
    _save(result, json_file)
    (err if json_file == "-" else out).print(shown(result))
    err.print(f"kept in {path}: result.json, report.md, report.html")


def _save(result: Mapping[str, Any], json_file: str | None) -> None:
    if json_file == "-":
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    elif json_file:
        folder.write(Path(json_file), result)


def _command() -> str:
    """As it was typed; --metadata and --label are the caller's own, and no option takes a secret."""
    return shlex.join(["./arena", "bench", *sys.argv[1:]])


def _four_engines() -> tuple[Settings, Topology]:
    settings = settings_of_the_caller()
    if settings.engines != 4:
        raise ConfigError("the benchmark compares plain with shared and needs all four engines: set ENGINES=4")
    return settings, Topology.of(settings)


if __name__ == "__main__":
    run(app)
