"""The media in prompts: new ones for each document, so that no cache can contain them.

The seed of a document's media is its nonce, so they can be generated again from a row of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from bench import synthetic_media
from bench.arms import PromptTransform
from client.prompt import Prompt
from media import Media

MODALITIES = ("image", "images", "video", "audio")
QUESTION = "What is this? Answer in one sentence."
OTHER_QUESTION = "Which colours, shapes or sounds are in it?"
CANDIDATES = 20  # for each token; enough that another answer's list contains this answer's best five
ALL_BITS = 2**64 - 1

MakeMedia = Callable[[int], tuple[Media, ...]]  # from a seed
Pixels = Annotated[int, Field(ge=16, le=4096, multiple_of=2)]
Pair = tuple[Pixels, Pixels]


class Sizes(BaseModel):
    """Sizes of media: pixels (width, height), frames, seconds. How many tokens they become depends on the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Pair = (896, 896)
    images: Pair = (644, 644)  # of each of the two
    video: Pair = (448, 448)
    frames: Annotated[int, Field(ge=2, le=10_000)] = 8
    fps: Annotated[int, Field(ge=1, le=120)] = 2
    seconds: Annotated[float, Field(ge=0.1, le=3600)] = 41.0  # of audio


def wanted_modalities(asked: Sequence[str], refused: Mapping[str, str]) -> tuple[str, ...]:
    """The modalities to measure: the requested ones (all if none is named), except those that the model refuses."""
    return tuple(modality for modality in asked or MODALITIES if modality not in refused)


def media_maker(modality: str, sizes: Sizes) -> MakeMedia:
    """A function that makes the media of a modality from a seed; `images` makes two."""
    makers: Mapping[str, MakeMedia] = {
        "image": lambda seed: (synthetic_media.image(seed, *sizes.image),),
        "images": lambda seed: tuple(synthetic_media.image(each, *sizes.images) for each in (seed, seed + 1)),
        "video": lambda seed: (synthetic_media.video(seed, sizes.frames, *sizes.video, sizes.fps),),
        "audio": lambda seed: (synthetic_media.audio(seed, sizes.seconds),),
    }
    return makers[modality]


def other_media(make: MakeMedia) -> MakeMedia:
    """A function that makes other media of the same kind and size: it flips all 64 bits of the seed."""
    return lambda seed: make(seed ^ ALL_BITS)


def media_question(make: MakeMedia, question: str = QUESTION) -> PromptTransform:
    """Replaces the document with media made from the prompt's nonce, and asks `question` about them.

    The end-of-sequence token is ignored, because a model whose weights for media are random may produce nothing else.
    """

    def transform(prompt: Prompt) -> Prompt:
        media = make(int(prompt.nonce, 16))
        return replace(prompt, question=question, document="", appendix="", media=media, ignore_eos=True)

    return transform


def with_candidates(transform: PromptTransform) -> PromptTransform:
    """Adds a request for the log-probabilities of the CANDIDATES most likely tokens at each position."""
    return lambda prompt: replace(transform(prompt), top_logprobs=CANDIDATES)
