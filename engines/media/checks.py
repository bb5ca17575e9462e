"""What a file really is, by its content, and whether it is whole: as much of it is decoded as that takes.

Whoever sends a file chooses its bytes, so decoders are told which formats to look for. FFmpeg would else follow
playlists to other files and addresses.
"""

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

from engines.errors import MediaError
from engines.media.limits import Limits
from engines.media.part import Modality

IMAGES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
CONTAINERS = {  # FFmpeg's names, and what follows the slash in the media type
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "webm",
    "avi": "x-msvideo",
    "ogg": "ogg",
    "wav": "wav",
    "flac": "flac",
    "mp3": "mpeg",
    "aac": "aac",
}
ENDLESS = ("mp3", "aac")  # say nowhere how long they are; FFmpeg guesses
CONFINED = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
FOREIGN_WORDS = "replace"  # titles and names are in any encoding, and none of ours
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is asked next
UNSUPPORTED = "is in a codec that is not supported: convert it (to H.264 or VP9; to WAV or FLAC)"
KINDS = "an image (PNG, JPEG, WebP, GIF, BMP, TIFF), video (MP4, WebM, Matroska, AVI) or sound (WAV, FLAC, Ogg, MP3)"
BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, StructError)  # Pillow's decoders raise them all
MISSING_S = 0.25  # a file that promises so much more than it has was cut off
OGG_HEADER = 27  # bytes
OGG_END = 4  # the flag of a stream's last page
RIFF_STREAMED = 0x7FFF_0000  # who writes a WAV to a pipe claims such a size, or more, or none


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is."""

    modality: Modality
    mime: str
    extent: str


def examine(content: bytes, name: str, limits: Limits, wanted: Modality | None = None) -> Found:
    """Raises MediaError for what is no media, damaged, too large, or in a codec that nobody here decodes.

    `wanted` tells only whether a film with sound is taken for its sound.
    """
    limits.of_bytes(name, len(content))
    try:
        return _image(content, name, limits) or _film_or_sound(content, name, limits, wanted)
    except (av.error.DecoderNotFoundError, av.error.PatchWelcomeError) as exc:
        raise MediaError(f"{name} {UNSUPPORTED}") from exc
    except av.error.FFmpegError as exc:
        raise _damaged(name, exc.strerror) from exc


def _image(content: bytes, name: str, limits: Limits) -> Found | None:
    Image.MAX_IMAGE_PIXELS = limits.pixels  # where more than twice as many are an error, before a header is read whole
    try:
        image = Image.open(BytesIO(content), formats=IMAGES)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise limits.uncounted_pixels(name) from exc
    except UnidentifiedImageError:
        return None
    except BROKEN_IMAGE as exc:
        raise _damaged(name, exc) from exc
    with image:
        limits.of_pixels(name, *image.size)
        try:
            image.load()
        except BROKEN_IMAGE as exc:
            raise _damaged(name, exc) from exc
        return Found(Modality.IMAGE, Image.MIME[str(image.format)], f"{image.width}×{image.height}")


def _film_or_sound(content: bytes, name: str, limits: Limits, wanted: Modality | None) -> Found:
    options = CONFINED | {"max_pixels": str(limits.pixels)}  # FFmpeg decodes a picture to find out about it
    try:
        container = av.open(BytesIO(content), "r", options=options, metadata_errors=FOREIGN_WORDS)
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError) as exc:
        raise MediaError(f"{name} is not {KINDS}, or damaged at its start: convert it to one of them") from exc
    with container:
        films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]  # not a cover
        sounds = container.streams.audio
        subtype = "x-matroska" if b"matroska" in content[:64] else CONTAINERS[container.format.name]
        if _is_cut_off(container.format.name, content):
            raise _damaged(name, "its end is missing")
        if sounds and (wanted is Modality.AUDIO or not films):
            return Found(Modality.AUDIO, f"audio/{subtype}", _sound(container, name, limits))
        if films:
            return Found(Modality.VIDEO, f"video/{subtype}", _film(container, films[0], name, limits))
    raise MediaError(f"{name} has neither pictures nor sound in it: give {KINDS}")


def _is_cut_off(kind: str, content: bytes) -> bool:
    """Where FFmpeg does not tell."""
    if kind == "ogg":
        return not _ends_an_ogg(content[content.rfind(b"OggS") :])
    return kind == "wav" and len(content) - 8 < int.from_bytes(content[4:8], "little") - 1 < RIFF_STREAMED


def _ends_an_ogg(page: bytes) -> bool:
    """Whether it is flagged as the last and has all of its segments; a table after the header has their sizes."""
    if len(page) < OGG_HEADER or not page[5] & OGG_END:
        return False
    segments = page[OGG_HEADER - 1]
    return len(page) >= OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])


def _film(container: InputContainer, stream: VideoStream, name: str, limits: Limits) -> str:
    """After the first picture only key frames are decoded: each of the others is there when its packet is."""
    _decodable(name, stream)
    codec = stream.codec_context
    if not codec.width:
        raise limits.uncounted_pixels(name)
    limits.of_pixels(name, codec.width, codec.height)
    limits.of_frames(name, stream.frames)
    codec.options = {"max_pixels": str(limits.pixels)}
    packets, pictures, fps = 0, 0, float(stream.average_rate or 0)
    for packet in _packets(container, name, limits):
        if packet.stream is stream:
            packets += packet.size > 0
            limits.of_frames(name, packets)
            limits.of_film(name, codec.width, codec.height, packets, fps)
            pictures += len(packet.decode())
            codec.skip_frame = "NONKEY" if pictures else "DEFAULT"
    if not pictures:
        raise _damaged(name, "no picture is in it")
    return f"{codec.width}×{codec.height}, {packets} frames"


def _sound(container: InputContainer, name: str, limits: Limits) -> str:
    stream = container.streams.audio[0]
    _decodable(name, stream)
    seconds, samples = 0.0, 0
    for packet in _packets(container, name, limits):
        for frame in stream.decode(packet) if packet.stream is stream else ():
            seconds += frame.samples / frame.sample_rate
            samples += frame.samples * frame.layout.nb_channels
            limits.of_seconds(name, seconds)
            limits.of_samples(name, samples)
    if not seconds:
        raise _damaged(name, "no sound is in it")
    return f"{seconds:.1f} s"


def _packets(container: InputContainer, name: str, limits: Limits) -> Iterator[Packet[Stream]]:
    """Those of all streams, while they are within bounds. Raises MediaError when at the end some are missing."""
    promised = 0.0 if container.format.name in ENDLESS else (container.duration or 0) / av.time_base
    limits.of_seconds(name, promised)
    first, last = inf, 0.0
    for packet in container.demux():
        if packet.is_corrupt and container.format.name != "wav":  # a streamed one's last always is
            raise _damaged(name, "it ends in the middle")
        if packet.pts is not None and packet.time_base:
            first = min(first, float(packet.pts * packet.time_base))
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            limits.of_seconds(name, last - first)
        yield packet
    if last - min(first, last) < promised - MISSING_S:
        raise _damaged(name, f"{last:.1f} of {promised:.1f} s are there")


def _decodable(name: str, stream: VideoStream | AudioStream) -> None:
    if not stream.codec_context:
        raise MediaError(f"{name} {UNSUPPORTED}")


def _damaged(name: str, why: object) -> MediaError:
    return MediaError(f"{name} is damaged or cut off ({why}): give a whole file")
