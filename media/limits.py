"""How large media may be, how many a prompt may have, and whom they may be fetched from inside.

Asked before anything is decoded or sent.
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

TAKEN = 768  # frames of a film that vLLM takes at most: two a second, or as many as there are of a shorter one
FPS = 2
SOUND_MB = 25  # of one sound that vLLM takes: VLLM_MAX_AUDIO_CLIP_FILESIZE_MB's default
LONGEST = 200
SAMPLES = 2 * 48_000  # a second: the most that a sound has which is not made for a studio


@dataclass(frozen=True, slots=True)
class Limits:
    """Each with the setting that it comes from. Pixels are those of one image or frame."""

    mb: int  # MEDIA_MAX_MB, 2**20 bytes each
    pixels: int  # MEDIA_MAX_PIXELS
    seconds: int  # MEDIA_MAX_SECONDS
    frames: int  # MEDIA_MAX_FRAMES
    film_pixels: int  # MEDIA_MAX_FILM_PIXELS, of all frames together that an engine takes: three bytes each there
    files: int  # MEDIA_MAX_FILES, of one prompt
    total_mb: int  # MEDIA_MAX_TOTAL_MB, likewise
    inside: frozenset[str] = frozenset()  # ALLOWED_MEDIA_DOMAINS: hosts that may have a private address
    recipe: Recipe | None = None  # MODEL's, where it has one

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As the operator chose them."""
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

    @property
    def bytes(self) -> int:
        return self.mb * 2**20

    def of_prompt(self, media: Sequence[Media]) -> None:
        """Raises MediaError when one prompt, its earlier turns included, may not have all of these."""
        self.of_number(len(media))
        total = sum(each.size for each in media) / 2**20
        if total > self.total_mb:
            raise _over("the prompt", f"{total:.1f} MiB of media", f"{self.total_mb}", "MEDIA_MAX_TOTAL_MB", "fewer")
        for modality, number in Counter(each.modality for each in media).items():
            takes = self.recipe.takes(modality) if self.recipe else None
            if self.recipe and takes is not None and number > takes:
                raise _not_taken(self.recipe.name, modality, takes)

    def of_number(self, files: int) -> None:
        """Raises MediaError when one prompt may not have so many."""
        if files > self.files:
            raise _over("the prompt", f"{files} files of media", f"{self.files}", "MEDIA_MAX_FILES", "fewer")

    def of_bytes(self, name: str, size: int) -> None:
        """Raises MediaError when a file has more, or none at all. Likewise its siblings below."""
        if not size:
            raise MediaError(f"{name} is empty: give a file with something in it")
        if size > self.bytes:
            raise _over(name, f"{size / 2**20:.1f} MiB", f"{self.mb}", "MEDIA_MAX_MB")

    def of_sound(self, name: str, size: int) -> None:
        """In bytes, as it is sent."""
        if size > SOUND_MB * 2**20:
            fact = f"{name} has {size / 2**20:.1f} MiB, and vLLM takes {SOUND_MB} of one sound"
            raise MediaError(f"{fact}: give a shorter one, or convert it to FLAC or MP3")

    def of_pixels(self, name: str, width: int, height: int) -> None:
        """Also when they make a strip that the processors of Qwen's models refuse."""
        if max(width, height) > LONGEST * min(width, height):
            fact = f"{name} has {width:,}×{height:,} pixels: models take nothing over {LONGEST} times as long as wide"
            raise MediaError(f"{fact}: give a part of it")
        if width * height > self.pixels:
            raise _over(name, f"{width:,}×{height:,} pixels", f"{self.pixels:,}", "MEDIA_MAX_PIXELS")

    def uncounted_pixels(self, name: str) -> MediaError:
        """What to say of those that a decoder refused to look at."""
        return _over(name, "too many pixels", f"{self.pixels:,}", "MEDIA_MAX_PIXELS")

    def of_seconds(self, name: str, seconds: float) -> None:
        if seconds > self.seconds:
            raise _over(name, f"{seconds:,.1f} s", f"{self.seconds:,}", "MEDIA_MAX_SECONDS")

    def of_samples(self, name: str, samples: int) -> None:
        """Of all channels together."""
        if samples > self.seconds * SAMPLES:
            limit = f"{self.seconds * SAMPLES:,} (two channels at 48 kHz for {self.seconds:,} s)"
            raise _over(name, f"{samples:,} samples", limit, "MEDIA_MAX_SECONDS")

    def of_frames(self, name: str, frames: int) -> None:
        if frames > self.frames:
            raise _over(name, f"{frames:,} frames", f"{self.frames:,}", "MEDIA_MAX_FRAMES")

    def of_film(self, name: str, width: int, height: int, frames: int, fps: float) -> None:
        """Of what an engine unpacks at once: FPS frames a second, TAKEN at most; all if its own `fps` is unknown, 0."""
        taken = min(TAKEN, frames, ceil(frames / fps * FPS) if fps else frames)
        if taken * width * height > self.film_pixels:
            has = f"{taken:,} frames of {width:,}×{height:,} pixels to look at"
            raise _over(name, has, f"{self.film_pixels:,} pixels", "MEDIA_MAX_FILM_PIXELS")


def _not_taken(model: str, modality: str, takes: int) -> MediaError:
    if not takes:
        return MediaError(f"{model} takes no {modality}: choose a MODEL that does (./arena models)")
    fact = f"{model} takes at most {takes} {modality}{'s' * (takes > 1)} in one prompt"
    return MediaError(f"{fact}: give {takes}, or choose a MODEL that takes more (./arena models)")


def _over(name: str, has: str, limit: str, setting: str, give: str = "a smaller one") -> MediaError:
    return MediaError(f"{name} has {has}, over the limit of {limit}: give {give}, or raise {setting}")
