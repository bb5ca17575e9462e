"""Detects the type of a media file by its content, and checks that it is complete; decodes only what this needs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import inf
from struct import error as StructError

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from PIL import Image, UnidentifiedImageError

from config.errors import MediaError
from media.formats import IMAGES, WITHOUT_DURATION, is_heic, mime_subtype, open_container
from media.limits import Limits
from media.part import Modality
from media.truncation import has_complete_segment, has_data_after, is_truncated

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the arena checks its own limit right after opening
warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow warns of damage that it can ignore
ICON_HEADER = b"\0\0\1\0"
UNSUPPORTED = "is in a codec that is not supported: convert it (to H.264 or VP9; to WAV or FLAC)"
ACCEPTED_KINDS = (
    "an image (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF), video (MP4, WebM, Matroska, AVI) "
    "or sound (WAV, FLAC, Ogg, MP3, M4A, AIFF, AMR)"
)
BROKEN_IMAGE = (OSError, SyntaxError, EOFError, IndexError, StructError)  # all of them are raised by Pillow's decoders
BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
MISSING_S = 0.25  # a file this much shorter than its header claims was cut off
MIN_SOUND_S = 0.025  # one window of the feature extractor of Whisper and Qwen
MIN_FRAMES = 2  # of a video: models process frames in pairs


@dataclass(frozen=True, slots=True)
class CheckedMedia:
    modality: Modality
    mime: str
    extent: str  # pixels, frames or seconds, for display
    seconds: float = 0.0  # decoded length of a sound


def check_file(content: bytes, name: str, limits: Limits, wanted: Modality | None = None) -> CheckedMedia:
    """Checks a file. Raises MediaError if it is not media, damaged, too large, or in a codec that vLLM cannot decode.

    `wanted` matters only for a video with sound, which may count as a sound, and an animated GIF, which may count as a
    video.
    """
    limits.check_bytes(name, len(content))
    if is_heic(content):
        raise MediaError(f"{name} is a HEIC picture, which vLLM does not read: convert it to JPEG")
    try:
        return _image(content, name, limits, wanted) or _film_or_sound(content, name, limits, wanted)
    except (av.error.DecoderNotFoundError, av.error.PatchWelcomeError) as exc:
        raise MediaError(f"{name} {UNSUPPORTED}") from exc
    except av.error.FFmpegError as exc:
        raise _damaged(name, exc.strerror) from exc


def _image(content: bytes, name: str, limits: Limits, wanted: Modality | None) -> CheckedMedia | None:
    """Checks an image. Returns None if the file is not an image, or is an animated GIF that is wanted as a video."""
    # Pillow refuses images over twice its limit. For images inside an icon this is the only check, so halve the limit
    Image.MAX_IMAGE_PIXELS = limits.pixels // (2 if content.startswith(ICON_HEADER) else 1)
    try:
        with Image.open(BytesIO(content), formats=IMAGES) as image:
            limits.check_pixels(name, *image.size)
            if wanted is Modality.VIDEO and image.format == "GIF" and getattr(image, "is_animated", False):
                return None
            image.load()
            return CheckedMedia(Modality.IMAGE, Image.MIME[str(image.format)], f"{image.width}×{image.height}")
    except UnidentifiedImageError:
        return None
    except BOMB as exc:
        raise limits.too_many_pixels(name) from exc
    except BROKEN_IMAGE as exc:
        raise _damaged(name, exc) from exc
    except ValueError as exc:  # the image is whole, but has more text or a larger profile than Pillow accepts
        raise MediaError(f"{name} cannot be decoded ({exc}): save it again, without its metadata") from exc


def _film_or_sound(content: bytes, name: str, limits: Limits, wanted: Modality | None) -> CheckedMedia:
    try:
        container = open_container(content, max_pixels=str(limits.pixels))  # opening decodes an image
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError) as exc:
        raise MediaError(f"{name} is not {ACCEPTED_KINDS}, or damaged at its start: convert it to one of them") from exc
    with container:
        films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]  # no cover art
        sounds, kind = container.streams.audio, mime_subtype(container, content)
        if is_truncated(container.format.name, content):
            raise _damaged(name, "its end is missing")
        if has_data_after(container.format.name, content):
            raise MediaError(f"{name} has a second WAV behind its end: give one of them, or join them in an editor")
        is_open = container.format.name in WITHOUT_DURATION or has_complete_segment(container.format.name, content)
        promised = 0.0 if is_open else (container.duration or 0) / av.time_base
        if sounds and (wanted is Modality.AUDIO or not films):
            seconds = _sound(container, name, limits, promised)
            return CheckedMedia(Modality.AUDIO, f"audio/{kind}", f"{seconds:.1f} s", seconds)
        if films:
            return CheckedMedia(Modality.VIDEO, f"video/{kind}", _film(container, films[0], name, limits, promised))
    raise MediaError(f"{name} has neither pictures nor sound in it: give {ACCEPTED_KINDS}")


def _film(container: InputContainer, stream: VideoStream, name: str, limits: Limits, promised: float) -> str:
    """Checks a video. After the first picture, only key frames are decoded; other frames are only counted."""
    _check_codec(name, stream)
    codec = stream.codec_context
    if codec.name.startswith("lib"):  # an external library, missing in the FFmpeg of OpenCV, vLLM's video reader
        kind = codec.codec.canonical_name.upper()
        raise MediaError(f"{name} is in {kind}, which vLLM does not decode in films: convert it to H.264")
    if not codec.width:
        raise limits.too_many_pixels(name)
    limits.check_pixels(name, codec.width, codec.height)
    limits.check_frames(name, stream.frames)
    codec.options = {"max_pixels": str(limits.pixels)}
    packets, hidden, pictures, fps = 0, 0, 0, float(stream.average_rate or 0)
    for packet in _packets(container, name, limits, promised):
        if packet.stream is stream:
            packets += packet.size > 0
            hidden += packet.is_discard  # hidden by an edit list
            limits.check_frames(name, packets)
            limits.check_film_pixels(name, codec.width, codec.height, packets, fps)
            pictures += len(packet.decode())
            codec.skip_frame = "NONKEY" if pictures else "DEFAULT"
    if not pictures:
        raise _damaged(name, "no picture is in it")
    if packets - hidden < MIN_FRAMES:
        raise MediaError(f"{name} is a film of one frame: give it as an image (PNG, JPEG), or a longer film")
    return f"{codec.width}×{codec.height}, {packets} frames"


def _sound(container: InputContainer, name: str, limits: Limits, promised: float) -> float:
    stream = container.streams.audio[0]
    _check_codec(name, stream)
    seconds, samples = 0.0, 0
    for packet in _packets(container, name, limits, promised):
        for frame in stream.decode(packet) if packet.stream is stream else ():
            seconds += frame.samples / frame.sample_rate
            samples += frame.samples * frame.layout.nb_channels
            limits.check_seconds(name, seconds)
            limits.check_samples(name, samples)
    if not seconds:
        raise _damaged(name, "no sound is in it")
    if seconds < MIN_SOUND_S:
        raise MediaError(f"{name} lasts {seconds * 1000:.2g} ms, and models need {MIN_SOUND_S * 1000:.0f}: give more")
    return seconds


def _packets(container: InputContainer, name: str, limits: Limits, promised: float) -> Iterator[Packet[Stream]]:
    """Yields the packets of all streams. Raises MediaError if they last too long, or end before `promised` seconds.

    `promised` is the duration in the header, or 0 if it is unknown.
    """
    limits.check_seconds(name, promised)
    first, last = inf, 0.0
    for packet in container.demux():
        if packet.is_corrupt and container.format.name != "wav":  # a streamed WAV's last packet always is
            raise _damaged(name, "it ends in the middle")
        if packet.pts is not None and packet.time_base:
            first = min(first, float(packet.pts * packet.time_base))
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            limits.check_seconds(name, last - first)
        yield packet
    if last - min(first, last) < promised - MISSING_S:
        raise _damaged(name, f"{last:.1f} of {promised:.1f} s are there")


def _check_codec(name: str, stream: VideoStream | AudioStream) -> None:
    if not stream.codec_context:
        raise MediaError(f"{name} {UNSUPPORTED}")


def _damaged(name: str, why: object) -> MediaError:
    return MediaError(f"{name} is damaged or cut off ({why}): give a whole file")
