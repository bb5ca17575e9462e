"""Declares each option of the bench commands once, and converts options to fields of `Options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bench.media_prompts import MODALITIES, Pair, Sizes
from client.external_server import parse_extra_body
from config.errors import ConfigError

INPUT_LEN = 6_816  # half a chunk of 64 tokens over whole chunks: on average, half a chunk has to be computed
MULTI_VALUE = ("--goodput", "--metadata")  # several values may follow one name, as in `vllm bench serve`
DEFAULT_SIZES = Sizes()

NumPrompts = Annotated[int, typer.Option(min=1, max=10_000, help="Fresh documents; each goes through every arm.")]
InputLen = Annotated[int, typer.Option(min=64, max=1_000_000, help="Tokens of each whole prompt.")]
InputLens = Annotated[list[int] | None, typer.Option(min=64, help="A prompt length; repeat it for more.")]
BaseUrls = Annotated[
    list[str] | None, typer.Option(help="Twice: any two OpenAI-compatible servers instead of the arena's engines.")
]
Model = Annotated[str | None, typer.Option(help="With --base-url: the model's name there.")]
ExtraBody = Annotated[
    str | None, typer.Option(metavar="JSON", help="With --base-url: fields for each request; null leaves one out.")
]
Gain = Annotated[float | None, typer.Option(min=0, help="Exit code 1 unless the interval's lower bound reaches this.")]
Json = Annotated[str | None, typer.Option("--json", help="Write result.json to this file too; - is stdout.")]


def _option(annotated: Any, default: Any, *names: str, **details: Any) -> tuple[Any, Any]:
    return Annotated[annotated, typer.Option(*names, **details)], default


def _written(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


SHARED: Mapping[str, tuple[Any, Any]] = {  # parameter name to its declaration and default
    "output_len": _option(int, 32, min=2, max=100_000, help="Tokens of each answer."),
    "seed": _option(int, 0, min=0, help="Of the order of arms and of the bootstrap; documents are always new."),
    "num_warmups": _option(int, 1, min=0, max=10, help="Rounds before the first measured one."),
    "confidence_level": _option(float, 0.95, min=0.5, max=0.999, help="Of every interval."),
    "modality": _option(list[str] | None, None, help=f"{', '.join(MODALITIES)}; repeat it for more."),
    "image_size": _option(str, _written(DEFAULT_SIZES.image), metavar="WxH", help="Pixels of a single image."),
    "images_size": _option(str, _written(DEFAULT_SIZES.images), metavar="WxH", help="Pixels of each of two images."),
    "video_size": _option(str, _written(DEFAULT_SIZES.video), metavar="WxH", help="Pixels of a frame."),
    "num_frames": _option(int, DEFAULT_SIZES.frames, min=2, max=10_000, help="Of a video, two to a second."),
    "audio_seconds": _option(float, DEFAULT_SIZES.seconds, min=0.1, max=3600, help="Length of a sound."),
    "expected_ttft_gain": (Gain, None),
    "prepare": _option(str | None, None, help="A command to run before every read: to drop page caches, say."),
    "result_dir": _option(Path | None, None, help="For result.json and reports; by default a new folder in results."),
    "resume": _option(bool, False, "--resume", help="Go on with the interrupted run in --result-dir, as it began."),
    "json_file": (Json, None),
    "save_detailed": _option(bool, False, "--save-detailed", help="Raw arrays in every arm, as vLLM saves them."),
    "label": _option(str | None, None, help="A name for this run, kept in the result."),
    "metadata": _option(list[str] | None, None, metavar="KEY=VALUE...", help="Kept in the result; one or more."),
}
MEDIA = ("modality", "image_size", "images_size", "video_size", "num_frames", "audio_seconds")
STATISTICS = ("num_warmups", "confidence_level", "save_detailed")
ALWAYS = ("output_len", "seed", "result_dir", "resume", "json_file", "label", "metadata")


class MultiValueGroup(TyperGroup):
    """Commands that accept `--goodput ttft:500 tpot:50`; Typer itself requires the name before each value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the option names before Typer parses the arguments."""
        return super().parse_args(ctx, repeat_names(args))


def repeat_names(arguments: Sequence[str]) -> list[str]:
    """Turns `--goodput ttft:500 tpot:50` into `--goodput ttft:500 --goodput tpot:50`.

    All words up to the next option are values, because no command with such an option has positional arguments.
    """
    repeated, option = list[str](), ""
    for word in arguments:
        if word.startswith("-"):
            option = word if word in MULTI_VALUE else ""
        elif option and repeated[-1] != option:
            repeated.append(option)
        repeated.append(word)
    return repeated


def shared_fields(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The values of shared options as fields of `Options`. Raises ConfigError for an invalid value."""
    fields = {name: value for name, value in chosen.items() if name not in MEDIA}
    if "metadata" in chosen:
        fields["metadata"] = key_values(chosen["metadata"] or ())
    if "modality" in chosen:
        image, images, video = (pixels(chosen[name]) for name in ("image_size", "images_size", "video_size"))
        sizes = {"frames": chosen["num_frames"], "seconds": chosen["audio_seconds"]}
        fields["sizes"] = Sizes(image=image, images=images, video=video, **sizes)
        fields["modality"] = modalities(chosen["modality"] or ())
    return fields


def key_values(metadata: Sequence[str]) -> dict[str, str]:
    """Parses `["gpu=A100"]` into a mapping. Raises ConfigError for anything but KEY=VALUE."""
    found = [text.partition("=") for text in metadata]
    if wrong := [key for key, equals, _ in found if not key or not equals]:
        raise ConfigError(f"--metadata {wrong[0]} has no value: write KEY=VALUE")
    return {key: value for key, _, value in found}


def modalities(names: Sequence[str]) -> tuple[str, ...]:
    """The names without duplicates. Raises ConfigError for an unknown modality."""
    if unknown := [name for name in names if name not in MODALITIES]:
        raise ConfigError(f"--modality {unknown[0]} is not known: choose {', '.join(MODALITIES)}")
    return tuple(dict.fromkeys(names))


def pixels(text: str) -> Pair:
    """Parses `896x644`. Raises ConfigError unless both are even, as videos require, and from 16 to 4096 pixels."""
    width, _, height = text.partition("x")
    sides = [int(side) if side.isdecimal() and side.isascii() else 0 for side in (width, height)]
    if not all(16 <= side <= 4096 and side % 2 == 0 for side in sides):
        raise ConfigError(f"{text} is not a size: write WIDTHxHEIGHT in pixels, even numbers from 16 to 4096")
    return sides[0], sides[1]


def goodput_limits(goodput: Sequence[str]) -> dict[str, float]:
    """Parses `["ttft:500"]` into milliseconds by metric. Raises ConfigError for anything but METRIC:MS."""
    found = {}
    for text in goodput:
        metric, _, ms = text.partition(":")
        try:
            found[metric] = float(ms)
        except ValueError:
            metric = ""
        if metric not in ("ttft", "tpot", "e2el"):
            raise ConfigError(f"--goodput {text}: write ttft:500, tpot:50 or e2el:2000 (milliseconds)")
    return found


def extra_body_fields(text: str | None, base_urls: Sequence[str]) -> dict[str, Any]:
    """The fields of `--extra-body`. Raises ConfigError if invalid, or without --base-url (the arena needs none)."""
    if text and not base_urls:
        raise ConfigError("--extra-body is for servers named by --base-url: name two, or leave it out")
    return parse_extra_body(text)
