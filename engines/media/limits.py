"""How large media may be, and whom they may be fetched from inside: asked before anything is decoded or sent."""

from __future__ import annotations

from dataclasses import dataclass

from engines.errors import MediaError
from engines.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Each with the setting that it comes from. Pixels are those of one image or frame."""

    mb: int  # MEDIA_MAX_MB, 2**20 bytes each
    pixels: int  # MEDIA_MAX_PIXELS
    seconds: int  # MEDIA_MAX_SECONDS
    frames: int  # MEDIA_MAX_FRAMES
    inside: frozenset[str] = frozenset()  # ALLOWED_MEDIA_DOMAINS: hosts that may have a private address

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As the operator chose them."""
        return cls(
            settings.media_max_mb,
            settings.media_max_pixels,
            settings.media_max_seconds,
            settings.media_max_frames,
            frozenset(settings.media_domains),
        )

    @property
    def bytes(self) -> int:
        return self.mb * 2**20

    def of_bytes(self, name: str, size: int) -> None:
        """Raises MediaError when a file has more, or none at all. Likewise its siblings below."""
        if not size:
            raise MediaError(f"{name} is empty: give a file with something in it")
        if size > self.bytes:
            raise _over(name, f"{size / 2**20:.1f} MiB", f"{self.mb}", "MEDIA_MAX_MB")

    def of_pixels(self, name: str, width: int, height: int) -> None:
        if width * height > self.pixels:
            raise _over(name, f"{width:,}×{height:,} pixels", f"{self.pixels:,}", "MEDIA_MAX_PIXELS")

    def of_seconds(self, name: str, seconds: float) -> None:
        if seconds > self.seconds:
            raise _over(name, f"{seconds:,.1f} s", f"{self.seconds:,}", "MEDIA_MAX_SECONDS")

    def of_frames(self, name: str, frames: int) -> None:
        if frames > self.frames:
            raise _over(name, f"{frames:,} frames", f"{self.frames:,}", "MEDIA_MAX_FRAMES")


def _over(name: str, has: str, limit: str, setting: str) -> MediaError:
    return MediaError(f"{name} has {has}, over the limit of {limit}: give a smaller one, or raise {setting}")
