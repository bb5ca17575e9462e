"""Generates media from a seed: small, reproducible, and different everywhere for another seed.

They replace photographs, films and speech where only the number of tokens and the difference between media matter.
"""

from __future__ import annotations

import wave
from io import BytesIO
from random import Random

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps

from media.part import Media, Modality

SAMPLE_RATE = 16_000  # the rate that speech models use
NOTE_S = 0.125
CODEC_OPTIONS = {
    "crf": "28",
    "tune": "zerolatency",
    "threads": "1",
}  # no frame depends on later ones
Colour = tuple[int, int, int]
Samples = npt.NDArray[np.float64]


def image(seed: int, width: int = 448, height: int = 448) -> Media:
    """A PNG: shapes on a background of colour gradients, so that no two patches are alike."""
    name = f"image-{seed}-{width}x{height}.png"
    return Media.of(Modality.IMAGE, name, "image/png", _encoded(_picture(Random(seed), width, height), "PNG"))


def video(seed: int, frames: int = 16, width: int = 224, height: int = 224, fps: int = 4) -> Media:
    """An MP4 (H.264) of moving shapes. Width and height must be even. More frames leave the first ones unchanged."""
    name = f"video-{seed}-{frames}x{width}x{height}.mp4"
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=CODEC_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = _picture(Random(seed), width, height, number / 16)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return Media.of(Modality.VIDEO, name, "video/mp4", file.getvalue())


def audio(seed: int, seconds: float = 5.0) -> Media:
    """A WAV (16 kHz, mono, 16 bits) of short notes with overtones."""
    random, samples = Random(seed), round(seconds * SAMPLE_RATE)
    note = np.arange(round(NOTE_S * SAMPLE_RATE)) / SAMPLE_RATE
    fade = np.sin(np.pi * note / NOTE_S)
    tune = [fade * _tone(random.uniform(110, 880), note) for _ in range(-(-samples // len(note)))]
    wave_form = (np.concatenate(tune)[:samples] * 12_000).astype("<i2")
    return Media.of(Modality.AUDIO, f"audio-{seed}-{seconds:g}s.wav", "audio/wav", _wav(wave_form.tobytes()))


def with_another_pixel(media: Media) -> Media:
    """The same image except for one pixel in its middle."""
    picture = Image.open(BytesIO(media.content)).convert("RGB")
    middle = (picture.width // 2, picture.height // 2)
    patch = picture.crop((*middle, middle[0] + 1, middle[1] + 1))
    picture.paste(ImageOps.invert(patch), middle)
    return Media.of(Modality.IMAGE, f"pixel-{media.name}", "image/png", _encoded(picture, "PNG"))


def in_another_container(media: Media) -> Media:
    """Identical pixels or samples in another file format: PNG to BMP, MP4 to Matroska, WAV to FLAC."""
    if media.modality is Modality.IMAGE:
        picture = Image.open(BytesIO(media.content)).convert("RGB")
        return Media.of(Modality.IMAGE, f"{media.name}.bmp", "image/bmp", _encoded(picture, "BMP"))
    if media.modality is Modality.VIDEO:
        return Media.of(Modality.VIDEO, f"{media.name}.mkv", "video/x-matroska", _matroska(media.content))
    return Media.of(Modality.AUDIO, f"{media.name}.flac", "audio/flac", _flac(media.content))


def _picture(random: Random, width: int, height: int, turn: float = 0.0) -> Image.Image:
    """The picture of a seed; `turn` moves its shapes."""
    ends = np.array([[_colour(random), _colour(random)], [_colour(random), _colour(random)]], dtype=float)
    x, y = np.linspace(0, 1, width)[None, :, None], np.linspace(0, 1, height)[:, None, None]
    above, below = ends[0, 0] * (1 - x) + ends[0, 1] * x, ends[1, 0] * (1 - x) + ends[1, 1] * x
    sky = Image.fromarray((above * (1 - y) + below * y).astype(np.uint8))
    picture = sky.copy()
    draw = ImageDraw.Draw(picture)
    for _ in range(12 + width * height // 4096):
        left, top = random.random() * width, (random.random() + turn * random.random()) % 1 * height
        size = (0.02 + 0.1 * random.random()) * min(width, height)
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((left, top, left + size, top + size), fill=_colour(random))
    return Image.blend(picture, sky, 0.5)  # so that large shapes are not uniform either


def _colour(random: Random) -> Colour:
    return random.randrange(256), random.randrange(256), random.randrange(256)


def _encoded(picture: Image.Image, kind: str) -> bytes:
    file = BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def _tone(hertz: float, seconds: Samples) -> Samples:
    overtones = np.array([[1], [2], [3]])
    tone: Samples = (np.sin(2 * np.pi * hertz * overtones * seconds) / overtones).sum(axis=0) / 2
    return tone


def _wav(samples: bytes) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(samples)
    return file.getvalue()


def _matroska(content: bytes) -> bytes:
    file = BytesIO()
    with av.open(BytesIO(content), "r") as source, av.open(file, "w", format="matroska") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:  # the last packet is empty and marks the end
                packet.stream = stream
                target.mux(packet)
    return file.getvalue()


def _flac(content: bytes) -> bytes:
    file = BytesIO()
    with av.open(BytesIO(content), "r") as source, av.open(file, "w", format="flac") as target:
        stream = target.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for frame in (*source.decode(audio=0), None):  # None flushes the encoder
            target.mux(stream.encode(frame))
    return file.getvalue()
