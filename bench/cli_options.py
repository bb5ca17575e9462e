"""What one may choose on the command line: the options that several commands share, and words read as values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.media_prompts import MODALITIES, Sizes, pixels, written
from cache.volume import CHUNK_SIZE
from client.external_server import parse_extra_body as fields_of
from config.errors import ConfigError

INPUT_LEN = 26 * CHUNK_SIZE + 128  # whole chunks, and room for a question that no cache has

NumPrompts = Annotated[int, typer.Option(min=1, max=10_000, help="Fresh documents; each goes through every arm.")]
InputLen = Annotated[int, typer.Option(min=64, max=1_000_000, help="Tokens of each whole prompt.")]
OutputLen = Annotated[int, typer.Option(min=2, max=100_000, help="Tokens of each answer.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the order of arms and of the bootstrap; documents are always new.")]
NumWarmups = Annotated[int, typer.Option(min=0, max=10, help="Rounds before the first measured one.")]
Level = Annotated[float, typer.Option("--confidence-level", min=0.5, max=0.999, help="Of every interval.")]
ResultDir = Annotated[Path | None, typer.Option(help="Folder for result.json and the reports.  [default: results/…]")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --result-dir, as it began.")]
Json = Annotated[str | None, typer.Option("--json", help="Write result.json to this file too; - is stdout.")]
Detailed = Annotated[bool, typer.Option("--save-detailed", help="Raw arrays in every arm, as vLLM saves them.")]
Label = Annotated[str | None, typer.Option(help="A name for this run, kept in the result.")]
Metadata = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE...", help="Kept in the result; one or more.")]
PrepareOption = Annotated[
    str | None, typer.Option(help="A command to run before every read: to drop page caches, say.")
]
Modalities = Annotated[list[str] | None, typer.Option(help=f"{', '.join(MODALITIES)}; repeat it for more.")]
ImageSize = Annotated[str, typer.Option(metavar="WxH", help="Pixels of a single image.")]
ImagesSize = Annotated[str, typer.Option(metavar="WxH", help="Pixels of each of two images.")]
VideoSize = Annotated[str, typer.Option(metavar="WxH", help="Pixels of a frame.")]
NumFrames = Annotated[int, typer.Option(min=2, max=10_000, help="Of a video, two to a second.")]
AudioSeconds = Annotated[float, typer.Option(min=0.1, max=3600, help="Length of a sound.")]
ExtraBody = Annotated[
    str | None, typer.Option(metavar="JSON", help="With --base-url: fields for each request; null leaves one out.")
]
DEFAULT_SIZES = Sizes()
IMAGE, IMAGES, VIDEO = map(written, (DEFAULT_SIZES.image, DEFAULT_SIZES.images, DEFAULT_SIZES.video))
Gain = Annotated[float | None, typer.Option(min=0, help="Exit code 1 unless the interval's lower bound reaches this.")]


def pairs(metadata: Sequence[str] | None) -> dict[str, str]:
    """`["gpu=A100"]` as a mapping. Raises ConfigError for anything else."""
    found = [text.partition("=") for text in metadata or ()]
    if bad := [key for key, equals, _ in found if not key or not equals]:
        raise ConfigError(f"--metadata {bad[0]} has no value: write KEY=VALUE")
    return {key: value for key, _, value in found}


def extra_body_option(text: str | None, base_urls: Sequence[str] | None) -> dict[str, Any]:
    """The fields of `--extra-body`. Raises ConfigError, for the arena's own engines too: what they take is known."""
    if text and not base_urls:
        raise ConfigError("--extra-body is for servers named by --base-url: name two, or leave it out")
    return fields_of(text)


def modalities(named: Sequence[str] | None) -> tuple[str, ...]:
    """Each once. Raises ConfigError for one that there is not."""
    named = named or ()
    if unknown := [name for name in named if name not in MODALITIES]:
        raise ConfigError(f"--modality {unknown[0]} is none: choose {', '.join(MODALITIES)}")
    return tuple(dict.fromkeys(named))


def sizes(image: str, images: str, video: str, frames: int, seconds: float) -> Sizes:
    """Raises ConfigError for what is no WIDTHxHEIGHT."""
    return Sizes(image=pixels(image), images=pixels(images), video=pixels(video), frames=frames, seconds=seconds)
