"""Limits for media: the size of a file, the number of files in a prompt, and the private hosts to download from.

Limits are checked before a file is decoded in full and before anything is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from config.errors import MediaError
from config.recipe import Recipe, find_recipe
from config.settings import Settings
from media.part import Media

MAX_SAMPLED_FRAMES = 768  # vLLM samples at most this many frames of a video, and at most SAMPLED_FPS per second
SAMPLED_FPS = 2
MAX_SOUND_MB = 25  # the default of vLLM's VLLM_MAX_AUDIO_CLIP_FILESIZE_MB
MAX_ASPECT_RATIO = 200  # Qwen's image processors refuse larger ratios
SAMPLES_PER_S = 2 * 48_000  # two channels at 48 kHz


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits. Every `check_…` method raises MediaError, which names the file or the prompt."""

    mb: int  # MEDIA_MAX_MB, in MiB
    pixels: int  # MEDIA_MAX_PIXELS, of one image or frame
    seconds: int  # MEDIA_MAX_SECONDS
    frames: int  # MEDIA_MAX_FRAMES
    film_pixels: int  # MEDIA_MAX_FILM_PIXELS, of all sampled frames; an engine needs 3 bytes for each
    files: int  # MEDIA_MAX_FILES, of one prompt
    total_mb: int  # MEDIA_MAX_TOTAL_MB, in MiB, of one prompt
    allowed_hosts: frozenset[str] = frozenset()  # ALLOWED_MEDIA_DOMAINS; these hosts may have private addresses
    recipe: Recipe | None = None  # of MODEL; None for a model without a recipe

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Returns the limits from the operator's settings."""
        return cls(
            settings.media_max_mb,
            settings.media_max_pixels,
            settings.media_max_seconds,
            settings.media_max_frames,
            settings.media_max_film_pixels,
            settings.media_max_files,
            settings.media_max_total_mb,
            frozenset(settings.media_domains),
            find_recipe(settings.model),
        )

    def check_prompt(self, media: Sequence[Media]) -> None:
        """Checks all media of a prompt, including earlier turns: number, bytes, and what the model accepts."""
        self.check_count(len(media))
        total = sum(each.size for each in media) / 2**20
        if total > self.total_mb:
            raise _over("the prompt", f"{total:.1f} MiB of media", f"{self.total_mb}", "MEDIA_MAX_TOTAL_MB", "fewer")
        for modality, number in Counter(each.modality for each in media).items():
            accepted = self.recipe.takes(modality) if self.recipe else None
            if self.recipe and accepted is not None and number > accepted:
                raise _not_accepted(self.recipe.name, modality, accepted)

    def check_count(self, files: int) -> None:
        if files > self.files:
            raise _over("the prompt", f"{files} files of media", f"{self.files}", "MEDIA_MAX_FILES", "fewer")

    def check_bytes(self, name: str, size: int) -> None:
        """Checks the size of a file; an empty file is an error too."""
        if not size:
            raise MediaError(f"{name} is empty: give a file with something in it")
        if size > self.mb * 2**20:
            raise _over(name, f"{size / 2**20:.1f} MiB", f"{self.mb}", "MEDIA_MAX_MB")

    def check_sound_bytes(self, name: str, size: int) -> None:
        """Checks the size of a sound as it is sent, which may be after a conversion."""
        if size > MAX_SOUND_MB * 2**20:
            raise MediaError(
                f"{name} has {size / 2**20:.1f} MiB, and vLLM takes {MAX_SOUND_MB} of one sound: give a shorter one, "
                "or convert it to FLAC or MP3"
            )

    def check_pixels(self, name: str, width: int, height: int) -> None:
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise MediaError(
                f"{name} has {width:,}×{height:,} pixels: models take nothing over {MAX_ASPECT_RATIO} times as long as "
                "wide: give a part of it"
            )
        if width * height > self.pixels:
            raise self.too_many_pixels(name, f"{width:,}×{height:,}")

    def too_many_pixels(self, name: str, pixels: str = "too many") -> MediaError:
        """Returns the error; a decoder that refuses an image gives no number of pixels."""
        return _over(name, f"{pixels} pixels", f"{self.pixels:,}", "MEDIA_MAX_PIXELS")

    def check_seconds(self, name: str, seconds: float) -> None:
        if seconds > self.seconds:
            raise _over(name, f"{seconds:,.1f} s", f"{self.seconds:,}", "MEDIA_MAX_SECONDS")

    def check_samples(self, name: str, samples: int) -> None:
        """Checks the number of samples in all channels together."""
        if samples > self.seconds * SAMPLES_PER_S:
            limit = f"{self.seconds * SAMPLES_PER_S:,} (two channels at 48 kHz for {self.seconds:,} s)"
            raise _over(name, f"{samples:,} samples", limit, "MEDIA_MAX_SECONDS")

    def check_frames(self, name: str, frames: int) -> None:
        if frames > self.frames:
            raise _over(name, f"{frames:,} frames", f"{self.frames:,}", "MEDIA_MAX_FRAMES")

    def check_film_pixels(self, name: str, width: int, height: int, frames: int, fps: float) -> None:
        """Checks the pixels of all frames that an engine samples and keeps in memory together.

        If `fps` is 0, the frame rate is unknown, and all frames count, up to MAX_SAMPLED_FRAMES.
        """
        sampled = min(MAX_SAMPLED_FRAMES, frames, ceil(frames / fps * SAMPLED_FPS) if fps else frames)
        if sampled * width * height > self.film_pixels:
            has = f"{sampled:,} frames of {width:,}×{height:,} pixels to look at"
            raise _over(name, has, f"{self.film_pixels:,} pixels", "MEDIA_MAX_FILM_PIXELS")


def _not_accepted(model: str, modality: str, accepted: int) -> MediaError:
    if not accepted:
        return MediaError(f"{model} takes no {modality}: choose a MODEL that does (./arena models)")
    return MediaError(
        f"{model} takes at most {accepted} {modality}{'s' * (accepted > 1)} in one prompt: give {accepted}, "
        "or choose a MODEL that takes more (./arena models)"
    )


def _over(name: str, has: str, limit: str, setting: str, give: str = "a smaller one") -> MediaError:
    return MediaError(f"{name} has {has}, over the limit of {limit}: give {give}, or raise {setting}")
