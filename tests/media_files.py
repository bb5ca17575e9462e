"""Makes small files in every common media format; `FILES` is the table in docs/media.md.

Files that no encoder here can make are in tests/media_samples; they were made with Debian's tools.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

RATE = 16_000
STORED = Path(__file__).parent / "media_samples"


@dataclass(frozen=True)
class Case:
    """A file, with its `container` and `codec` as named in the table; `seconds` is the length of its sound."""

    container: str
    codec: str
    make: Callable[[], bytes]
    seconds: float


def case(container, codec, make, *args, lasts=1.0, **options):
    """Returns the case of a file made by `make(*args, **options)`, whose sound `lasts` that many seconds."""
    return Case(container, codec, partial(make, *args, **options), lasts)


class Pipe(BytesIO):
    """An output that cannot seek, like that of a browser's recorder."""

    seek = None

    def seekable(self):
        return False


def picture(width=64, height=64, turn=0):
    """Returns a picture whose colour changes from pixel to pixel."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([(x * 4 + turn * 8) % 256, (y * 4) % 256, (x + y + turn * 16) % 256], axis=-1).astype(np.uint8)


def saved(kind, mode="RGB", width=64, height=64, **options):
    file = BytesIO()
    Image.fromarray(picture(width, height)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def deep_png():
    file = BytesIO()
    Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(file, "PNG")
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    return saved("JPEG", width=64, height=32, exif=exif)


def several(kind):
    """Returns a file with three pictures."""
    return saved(kind, save_all=True, append_images=[Image.fromarray(picture(turn=turn)) for turn in (1, 2)])


def chatty_png(size=2 * 2**20):
    """Returns a PNG whose text chunk is larger than readers allow."""
    words = PngInfo()
    words.add_text("about", "a" * size, zip=True)
    return saved("PNG", pnginfo=words)


def filmed(
    kind,
    codec,
    frames=8,
    width=64,
    height=64,
    pixel_format="yuv420p",
    sound="",
    target=BytesIO,
    options=None,
    rate=4,
    times=None,
    encoder=None,
    black=False,
):
    """Returns a film of moving colours, with a tone if `sound` names a codec. `times` are its frames' times in ms."""
    file = target()
    with av.open(file, "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=encoder or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        heard = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number in range(frames):
            colours = np.zeros((height, width, 3), np.uint8) if black else picture(width, height, number)
            shown = av.VideoFrame.from_ndarray(colours, format="rgb24")
            if times:
                shown.pts, shown.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
        for each in blocks(tone(frames / rate, 48_000), 48_000) if heard else ():
            container.mux(heard.encode(each))
        if heard:
            container.mux(heard.encode())
    return file.read_bytes() if isinstance(file, Path) else file.getvalue()


def tone(seconds=1.0, rate=RATE, channels=1):
    """Returns 16-bit samples, one row per channel."""
    at = np.arange(round(seconds * rate)) / rate
    return np.stack([8000 * np.sin(2 * np.pi * 440 * (1 + channel) * at) for channel in range(channels)]).astype("<i2")


def blocks(samples, rate, layout="mono", size=1024):
    for start in range(0, samples.shape[1], size):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, start : start + size]), format="s16p", layout=layout
        )
        frame.sample_rate, frame.pts = rate, start
        yield frame


def sounded(
    kind, codec, rate=RATE, layout="mono", target=BytesIO, cover=False, options=None, encoder=None, sample_format=""
):
    """Returns a file with a tone of one second."""
    file = target()
    channels = av.AudioLayout(layout).nb_channels
    with av.open(file, "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options=encoder or {})
        if sample_format:
            stream.codec_context.format = sample_format
        if cover:
            shown = container.add_stream("mjpeg", rate=1)
            shown.width, shown.height, shown.pix_fmt = 64, 64, "yuvj420p"
            shown.disposition = av.stream.Disposition.attached_pic
            container.metadata["title"] = "A tone"
            container.mux(shown.encode(av.VideoFrame.from_ndarray(picture(), format="rgb24")))
        for frame in blocks(tone(1.0, rate, channels), rate, layout):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def wav(seconds=1.0, rate=RATE, channels=1):
    file = BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((channels, 2, rate, 0, "NONE", ""))
        target.writeframes(tone(seconds, rate, channels).T.tobytes())
    return file.getvalue()


def wav_with(riff=32036, data=32000, extra=b""):
    """Returns a WAV of one second with these sizes in its header."""
    whole = wav()
    return whole[:4] + struct.pack("<I", riff) + whole[8:40] + struct.pack("<I", data) + whole[44:] + extra


def twice(make, *args, **options):
    """Returns a file followed by a copy of itself."""
    return make(*args, **options) * 2


def without_end(content):
    """Removes the end flag from the last page of an Ogg file, and corrects the page's checksum."""
    last = content.rfind(b"OggS")
    page = bytearray(content[last:])
    page[5] &= ~4
    page[22:26] = bytes(4)
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 if total & 0x80000000 else total << 1) & 0xFFFFFFFF
    page[22:26] = struct.pack("<I", total)
    return content[:last] + bytes(page)


def rotated():
    """Returns an MP4 whose header rotates it by 90 degrees."""
    content = filmed("mp4", "libx264", height=32)
    upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    at = content.index(upright, content.index(b"tkhd"))
    return content[:at] + struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30) + content[at + 36 :]


def remuxed(content, kind, earlier_s=0, **options):
    """Copies a film to another container without re-encoding. Frames before time 0 are hidden by an edit list."""
    file = BytesIO()
    with av.open(BytesIO(content)) as source, av.open(file, "w", format=kind, options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                shift = round(earlier_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                container.mux(packet)
    return file.getvalue()


def trimmed():
    """Returns a film that was cut between its key frames."""
    return remuxed(filmed("mp4", "libx264", frames=16), "mp4", earlier_s=1, avoid_negative_ts="disabled")


def stored(name):
    """Reads a sample. AV1 is not encoded here because SVT-AV1 gives root's processes real-time priority."""
    return (STORED / name).read_bytes()


ID3 = b"ID3\4\0\0" + bytes([0, 0, 0, 32]) + b"TIT2" + bytes([0, 0, 0, 7, 0, 0, 3]) + b"A tone" + bytes(15)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" fill="red"/></svg>'
TIMES = [0, 20, 500, 510, 900, 1000, 1900, 2000]  # of the frames of a film with a variable frame rate, in ms
FRAGMENTS = {"target": Pipe, "options": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}}
VORBIS = {"rate": 48_000, "layout": "stereo", "encoder": {"strict": "-2"}}

IMAGES: Mapping[str, Case] = {
    "png": case("PNG", "8 bits", saved, "PNG"),
    "png-16": case("PNG", "16 bits", deep_png),
    "png-1": case("PNG", "1 bit", saved, "PNG", "1"),
    "png-palette": case("PNG", "palette, transparent", saved, "PNG", "P", transparency=3),
    "png-la": case("PNG", "grey with alpha", saved, "PNG", "LA"),
    "png-rgba": case("PNG", "colour with alpha", saved, "PNG", "RGBA"),
    "png-text": case("PNG", "2 MB of text", chatty_png),
    "png-wide": case("PNG", "5000×1", saved, "PNG", width=5000, height=1),
    "png-tall": case("PNG", "1×5000", saved, "PNG", width=1, height=5000),
    "png-pixel": case("PNG", "1×1", saved, "PNG", width=1, height=1),
    "png-200": case("PNG", "2000×10, 200 to 1", saved, "PNG", width=2000, height=10),
    "apng": case("APNG", "3 pictures", several, "PNG"),
    "jpeg": case("JPEG", "baseline", saved, "JPEG"),
    "jpeg-cmyk": case("JPEG", "CMYK", saved, "JPEG", "CMYK"),
    "jpeg-progressive": case("JPEG", "progressive", saved, "JPEG", progressive=True),
    "jpeg-turned": case("JPEG", "turned by EXIF", turned),
    "mpo": case("MPO", "3 pictures", several, "MPO"),
    "webp": case("WebP", "still", saved, "WEBP"),
    "webp-moving": case("WebP", "animated", several, "WEBP"),
    "gif": case("GIF", "still", saved, "GIF"),
    "gif-moving": case("GIF", "animated", several, "GIF"),
    "bmp": case("BMP", "", saved, "BMP"),
    "tiff": case("TIFF", "uncompressed", saved, "TIFF"),
    "tiff-deflate": case("TIFF", "deflate", saved, "TIFF", compression="tiff_adobe_deflate"),
    "avif": case("AVIF", "AV1", saved, "AVIF"),
    "avif-moving": case("AVIF", "AV1, animated", several, "AVIF"),
    "heic": case("HEIC", "HEVC", stored, "photo.heic"),
    "ico": case("ICO", "", saved, "ICO"),
    "jp2": case("JPEG 2000", "", saved, "JPEG2000"),
    "svg": case("SVG", "", lambda: SVG),
}
FILMS: Mapping[str, Case] = {
    "mp4-h264": case("MP4", "H.264", filmed, "mp4", "libx264"),
    "mp4-h264-10": case("MP4", "H.264, 10 bits", filmed, "mp4", "libx264", pixel_format="yuv420p10le"),
    "mp4-h264-444": case("MP4", "H.264, 4:4:4", filmed, "mp4", "libx264", pixel_format="yuv444p"),
    "mp4-hevc": case("MP4", "HEVC", filmed, "mp4", "libx265"),
    "mp4-av1": case("MP4", "AV1", stored, "film.mp4"),
    "mp4-mpeg4": case("MP4", "MPEG-4", filmed, "mp4", "mpeg4"),
    "mp4-vp9": case("MP4", "VP9", filmed, "mp4", "libvpx-vp9"),
    "mp4-sound": case("MP4", "H.264 with AAC", filmed, "mp4", "libx264", sound="aac"),
    "mp4-fragments": case("MP4", "H.264, fragmented", filmed, "mp4", "libx264", options=FRAGMENTS["options"]),
    "mp4-fragments-pipe": case(
        "MP4", "H.264, fragmented with sound", filmed, "mp4", "libx264", sound="aac", **FRAGMENTS
    ),
    "mp4-variable": case("MP4", "H.264, variable rate", filmed, "mp4", "libx264", times=TIMES),
    "mp4-odd": case("MP4", "H.264, 65×63", filmed, "mp4", "libx264", width=65, height=63, pixel_format="yuv444p"),
    "mp4-rotated": case("MP4", "H.264, turned", rotated),
    "mp4-trimmed": case("MP4", "H.264, edit list", trimmed),
    "mp4-one": case("MP4", "H.264, one frame", filmed, "mp4", "libx264", frames=1),
    "mp4-two": case("MP4", "H.264, two frames", filmed, "mp4", "libx264", frames=2),
    "mp4-three": case("MP4", "H.264, three frames", filmed, "mp4", "libx264", frames=3),
    "mp4-tiny": case("MP4", "H.264, 2×2", filmed, "mp4", "libx264", width=2, height=2),
    "mp4-wide": case("MP4", "H.264, 1024×2", filmed, "mp4", "libx264", width=1024, height=2),
    "mov-h264": case("MOV", "H.264", filmed, "mov", "libx264"),
    "mov-prores": case("MOV", "ProRes", filmed, "mov", "prores_ks", pixel_format="yuv422p10le"),
    "mov-mjpeg": case("MOV", "Motion JPEG", filmed, "mov", "mjpeg", pixel_format="yuvj420p"),
    "mov-png": case("MOV", "PNG", filmed, "mov", "png", pixel_format="rgb24"),
    "3gp-h263": case("3GP", "H.263", filmed, "3gp", "h263", width=128, height=96, rate=25),
    "webm-vp8": case("WebM", "VP8", filmed, "webm", "libvpx"),
    "webm-vp9": case("WebM", "VP9", filmed, "webm", "libvpx-vp9"),
    "webm-av1": case("WebM", "AV1", lambda: remuxed(stored("film.mp4"), "webm")),
    "webm-recorded": case("WebM", "VP8 with Opus, recorded", filmed, "webm", "libvpx", sound="libopus", target=Pipe),
    "webm-recorded-vp9": case("WebM", "VP9, recorded", filmed, "webm", "libvpx-vp9", target=Pipe),
    "mkv-h264": case("Matroska", "H.264", filmed, "matroska", "libx264"),
    "mkv-hevc": case("Matroska", "HEVC", filmed, "matroska", "libx265"),
    "mkv-av1": case("Matroska", "AV1", lambda: remuxed(stored("film.mp4"), "matroska")),
    "mkv-recorded": case("Matroska", "H.264, recorded", filmed, "matroska", "libx264", target=Pipe),
    "webm-variable": case("WebM", "VP8, variable rate", filmed, "webm", "libvpx", times=TIMES),
    "mkv-mpeg2": case("Matroska", "MPEG-2", filmed, "matroska", "mpeg2video", rate=25),
    "mkv-ffv1": case("Matroska", "FFV1", filmed, "matroska", "ffv1"),
    "avi-mjpeg": case("AVI", "Motion JPEG", filmed, "avi", "mjpeg", pixel_format="yuvj420p"),
    "avi-mpeg4": case("AVI", "MPEG-4", filmed, "avi", "mpeg4"),
    "avi-msmpeg4": case("AVI", "MS MPEG-4", filmed, "avi", "msmpeg4"),
    "avi-raw": case("AVI", "uncompressed", filmed, "avi", "rawvideo", pixel_format="bgr24"),
    "ts-h264": case("MPEG-TS", "H.264", filmed, "mpegts", "libx264"),
    "ogv-theora": case("Ogg", "Theora", stored, "theora.ogv"),
    "gif-film": case("GIF", "as a video", several, "GIF"),
}
SOUNDS: Mapping[str, Case] = {
    "wav": case("WAV", "PCM, 16 bits", wav),
    "wav-8": case("WAV", "PCM, 8 bits", sounded, "wav", "pcm_u8"),
    "wav-24": case("WAV", "PCM, 24 bits", sounded, "wav", "pcm_s24le"),
    "wav-32": case("WAV", "PCM, 32 bits", sounded, "wav", "pcm_s32le"),
    "wav-float": case("WAV", "float", sounded, "wav", "pcm_f32le"),
    "wav-double": case("WAV", "double", sounded, "wav", "pcm_f64le"),
    "wav-stereo": case("WAV", "PCM, stereo", wav, channels=2),
    "wav-alaw": case("WAV", "A-law", sounded, "wav", "pcm_alaw", rate=8000),
    "wav-mulaw": case("WAV", "µ-law", sounded, "wav", "pcm_mulaw", rate=8000),
    "wav-adpcm": case("WAV", "IMA ADPCM", sounded, "wav", "adpcm_ima_wav"),
    "wav-ms-adpcm": case("WAV", "MS ADPCM", sounded, "wav", "adpcm_ms"),
    "wav-g722": case("WAV", "G.722", sounded, "wav", "g722"),
    "wav-mp3": case("WAV", "MP3", sounded, "wav", "libmp3lame"),
    "wav-71": case("WAV", "8 channels (extensible)", wav, channels=8),
    "wav-1hz": case("WAV", "1 Hz", wav, seconds=5, rate=1, lasts=5),
    "wav-192k": case("WAV", "192 kHz", wav, seconds=0.5, rate=192_000, lasts=0.5),
    "wav-sample": case("WAV", "one sample", wav, seconds=1 / RATE, lasts=0),
    "wav-none": case("WAV", "no sample", wav, seconds=0, lasts=0),
    "wav-riff-whole": case("WAV", "RIFF says the whole file's size", wav_with, riff=32044),
    "wav-riff-0": case("WAV", "RIFF says 0", wav_with, riff=0),
    "wav-data-0": case("WAV", "data says 0", wav_with, data=0),
    "wav-data-unknown": case("WAV", "data says 0xFFFFFFFF", wav_with, riff=0xFFFFFFFF, data=0xFFFFFFFF),
    "wav-data-0-riff-0": case("WAV", "both say 0", wav_with, riff=0, data=0),
    "wav-twice": case("WAV", "two in one file", twice, wav, lasts=2),
    "wav-tail": case("WAV", "bytes behind", wav_with, extra=b"\0" * 99),
    "rf64": case("RF64", "PCM", sounded, "wav", "pcm_s16le", options={"rf64": "always"}),
    "flac": case("FLAC", "FLAC", sounded, "flac", "flac"),
    "flac-24": case("FLAC", "24 bits", sounded, "flac", "flac", sample_format="s32"),
    "flac-stereo": case("FLAC", "stereo", sounded, "flac", "flac", layout="stereo"),
    "flac-piped": case("FLAC", "of unknown length", sounded, "flac", "flac", target=Pipe),
    "flac-twice": case("FLAC", "two in one file", twice, sounded, "flac", "flac", lasts=2),
    "flac-id3": case("FLAC", "with ID3 before it", lambda: ID3 + sounded("flac", "flac")),
    "ogg-flac": case("Ogg", "FLAC", sounded, "ogg", "flac"),
    "ogg-vorbis": case("Ogg", "Vorbis", sounded, "ogg", "vorbis", **VORBIS),
    "ogg-opus": case("Ogg", "Opus", sounded, "ogg", "libopus", rate=48_000),
    "ogg-opus-endless": case(
        "Ogg", "Opus without the end flag", lambda: without_end(sounded("ogg", "libopus", 48_000))
    ),
    "ogg-chained": case("Ogg", "Opus, two in one", twice, sounded, "ogg", "libopus", rate=48_000, lasts=2),
    "ogg-speex": case("Ogg", "Speex", stored, "speex.ogg"),
    "webm-opus": case("WebM", "Opus", sounded, "webm", "libopus", rate=48_000),
    "webm-opus-recorded": case("WebM", "Opus, recorded", sounded, "webm", "libopus", rate=48_000, target=Pipe),
    "webm-vorbis": case("WebM", "Vorbis", sounded, "webm", "vorbis", **VORBIS),
    "mkv-flac": case("Matroska", "FLAC", sounded, "matroska", "flac"),
    "mkv-pcm": case("Matroska", "PCM", sounded, "matroska", "pcm_s16le", layout="stereo"),
    "mp3": case("MP3", "MP3", sounded, "mp3", "libmp3lame"),
    "mp3-stereo": case("MP3", "stereo, 44.1 kHz", sounded, "mp3", "libmp3lame", rate=44_100, layout="stereo"),
    "mp3-twice": case("MP3", "two in one file", twice, sounded, "mp3", "libmp3lame", lasts=2),
    "mp3-cover": case("MP3", "with ID3 and a cover", sounded, "mp3", "libmp3lame", cover=True),
    "mp2": case("MP2", "MP2", sounded, "mp2", "mp2"),
    "aac": case("ADTS", "AAC", sounded, "adts", "aac"),
    "aac-twice": case("ADTS", "AAC, two in one file", twice, sounded, "adts", "aac", lasts=2),
    "m4a-aac": case("M4A", "AAC", sounded, "ipod", "aac"),
    "m4a-aac-stereo": case("M4A", "AAC, stereo", sounded, "ipod", "aac", rate=48_000, layout="stereo"),
    "m4a-alac": case("M4A", "ALAC", sounded, "ipod", "alac"),
    "m4a-alac-stereo": case("M4A", "ALAC, stereo", sounded, "ipod", "alac", layout="stereo"),
    "mp4-flac": case("MP4", "FLAC", sounded, "mp4", "flac"),
    "mp4-opus": case("MP4", "Opus", sounded, "mp4", "libopus", rate=48_000),
    "mp4-fragments-opus": case("MP4", "Opus, recorded", sounded, "mp4", "libopus", rate=48_000, **FRAGMENTS),
    "mp4-mp3": case("MP4", "MP3", sounded, "mp4", "libmp3lame"),
    "mov-pcm": case("MOV", "PCM", sounded, "mov", "pcm_s16le", layout="stereo"),
    "3gp-amr": case("3GP", "AMR", sounded, "3gp", "libopencore_amrnb", rate=8000),
    "amr": case("AMR", "AMR", sounded, "amr", "libopencore_amrnb", rate=8000),
    "aiff": case("AIFF", "PCM", sounded, "aiff", "pcm_s16be"),
    "caf": case("CAF", "PCM", sounded, "caf", "pcm_s16be"),
    "caf-alac": case("CAF", "ALAC", sounded, "caf", "alac"),
    "aiff-float": case("AIFF", "float", sounded, "aiff", "pcm_f32be"),
    "au": case("AU", "PCM", sounded, "au", "pcm_s16be"),
    "film-sound": case("MP4", "a film's sound", filmed, "mp4", "libx264", sound="aac", lasts=2),
    "film-silent": case("MP4", "a film without sound", filmed, "mp4", "libx264", lasts=2),
}
FILES: Mapping[str, Case] = {
    f"{modality}.{name}": each
    for modality, cases in (("image", IMAGES), ("video", FILMS), ("audio", SOUNDS))
    for name, each in cases.items()
}
