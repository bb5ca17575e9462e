"""What is shown to the engines: media that nobody has seen, made anew for each document, and what is nearly the same.

A document's nonce is the seed of its media, so a row of the result is enough to make them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bench import synthetic_media
from bench.arms import PromptTransform
from client.prompt import Prompt
from config.errors import ConfigError
from media import Media

MODALITIES = ("image", "images", "video", "audio")
QUESTION = "What is this? Answer in one sentence."
OTHER_QUESTION = "Which colours, shapes or sounds are in it?"
CANDIDATES = 20  # of each token: so many that the best five of one answer are found in another
FLIPPED = 2**64 - 1
OTHER_DIGITS = str.maketrans("0123456789", "5678901234")

MakeMedia = Callable[[int], tuple[Media, ...]]  # of a seed
Pixels = Annotated[int, Field(ge=16, le=4096, multiple_of=2)]
Pair = tuple[Pixels, Pixels]


class Sizes(BaseModel):
    """How large media are: pixels (width, height), frames, seconds. What that is in tokens, the model decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Pair = (896, 896)
    images: Pair = (644, 644)  # each of two
    video: Pair = (448, 448)
    frames: Annotated[int, Field(ge=2, le=10_000)] = 8
    fps: Annotated[int, Field(ge=1, le=120)] = 2
    seconds: Annotated[float, Field(ge=0.1, le=3600)] = 41.0  # of audio


def wanted_modalities(asked: Sequence[str], refused: Mapping[str, str]) -> tuple[str, ...]:
    """The modalities to measure: those that were asked for, or all, without those that the model refuses."""
    return tuple(modality for modality in asked or MODALITIES if modality not in refused)


def media_maker(modality: str, sizes: Sizes) -> MakeMedia:
    """Makes the media of a modality from a seed; `images` are two."""
    shows: Mapping[str, MakeMedia] = {
        "image": lambda seed: (synthetic_media.image(seed, *sizes.image),),
        "images": lambda seed: (
            synthetic_media.image(seed, *sizes.images),
            synthetic_media.image(seed + 1, *sizes.images),
        ),
        "video": lambda seed: (synthetic_media.video(seed, sizes.frames, *sizes.video, sizes.fps),),
        "audio": lambda seed: (synthetic_media.audio(seed, sizes.seconds),),
    }
    return shows[modality]


def media_question(show: MakeMedia, question: str = QUESTION) -> PromptTransform:
    """A question about the media of the prompt's own nonce, and no document beside them.

    The answer is never empty: what a model of random weights sees may well be an answer's end.
    """

    def about_media(prompt: Prompt) -> Prompt:
        media = show(int(prompt.nonce, 16))
        return replace(prompt, question=question, document="", appendix="", media=media, ignore_eos=True)

    return about_media


def with_candidates(variant: PromptTransform) -> PromptTransform:
    """The same, with what else might have been answered and how probable it was."""
    return lambda prompt: replace(variant(prompt), top_logprobs=CANDIDATES)


def under_another_nonce(variant: PromptTransform) -> PromptTransform:
    """The same in a prompt of which no KV can be reused, and which is as long.

    Only digits differ: how many tokens letters make depends on what stands beside them.
    """
    return lambda prompt: replace(variant(prompt), nonce=prompt.nonce.translate(OTHER_DIGITS))


def other_media(show: MakeMedia) -> MakeMedia:
    """Media of the same kind and size, of which nobody has seen any."""
    return lambda seed: show(other_seed(seed))


def other_seed(seed: int) -> int:
    """All 64 bits flipped: as fresh as the seed is, and known from it."""
    return seed ^ FLIPPED


def pixels(text: str) -> Pair:
    """`896x644` as width and height. Raises ConfigError for what is none, and what no video can have."""
    width, _, height = text.partition("x")
    sides = [int(side) if side.isdecimal() and side.isascii() else 0 for side in (width, height)]
    if not all(16 <= side <= 4096 and side % 2 == 0 for side in sides):
        raise ConfigError(f"{text} is no size: write WIDTHxHEIGHT in pixels, even numbers from 16 to 4096")
    return sides[0], sides[1]


def written(size: Pair) -> str:
    """The other way round."""
    return f"{size[0]}x{size[1]}"
