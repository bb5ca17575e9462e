"""Small files of every format that people have, made here; `FILES` is the table that docs/media.md shows.

What no encoder at hand can make lies in tests/media_samples, made with Debian's tools.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image

RATE = 16_000
STORED = Path(__file__).parent / "media_samples"


@dataclass(frozen=True)
class Case:
    """A file; `container` and `codec` as the table calls them. `seconds` are those of its sound."""

    container: str
    codec: str
    make: Callable[[], bytes]
    seconds: float = 1.0


class Pipe(BytesIO):
    """A target in which a writer cannot go back, as that of a browser's recorder."""

    seek = None

    def seekable(self):
        return False


def picture(width=64, height=64, turn=0):
    """Colours that differ everywhere."""
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


def see_through():
    file = BytesIO()
    Image.fromarray(picture()).convert("P").save(file, "PNG", transparency=3)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    return saved("JPEG", width=64, height=32, exif=exif)


def several(kind, **options):
    """More pictures than one in a file."""
    file = BytesIO()
    first, *rest = [Image.fromarray(picture(turn=turn)) for turn in range(3)]
    first.save(file, kind, save_all=True, append_images=rest, **options)
    return file.getvalue()


def chatty_png(size=2 * 2**20):
    """Its text chunks are larger than readers allow."""
    from PIL.PngImagePlugin import PngInfo

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
    """A film of moving colours, with a tone when `sound` names a codec; `times` are those of its frames in ms."""
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
    """Samples of 16 bits, a row for each channel."""
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
    kind,
    codec,
    rate=RATE,
    layout="mono",
    seconds=1.0,
    target=BytesIO,
    cover=False,
    options=None,
    encoder=None,
    sample_format="",
):
    """A tone."""
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
        for frame in blocks(tone(seconds, rate, channels), rate, layout):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def wav(seconds=1.0, rate=RATE, channels=1):
    file = BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((channels, 2, rate, 0, "NONE", ""))
        target.writeframes(tone(seconds, rate, channels).T.tobytes())
    return file.getvalue()


def wav_with(riff=None, data=None, extra=b""):
    """A WAV whose header says these sizes."""
    whole = wav()
    riff = len(whole) - 8 if riff is None else riff
    data = len(whole) - 44 if data is None else data
    return whole[:4] + struct.pack("<I", riff) + whole[8:40] + struct.pack("<I", data) + whole[44:] + extra


def without_the_end_flag(content):
    """The last page of an Ogg with its flag taken out, and its sum made right."""
    last = content.rfind(b"OggS")
    page = bytearray(content[last:])
    page[5] &= ~4
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", ogg_sum(page))
    return content[:last] + bytes(page)


def ogg_sum(page):
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 if total & 0x80000000 else total << 1) & 0xFFFFFFFF
    return total


def rotated():
    """An MP4 whose header turns it by 90 degrees."""
    content = filmed("mp4", "libx264", height=32)
    upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    at = content.index(upright, content.index(b"tkhd"))
    return content[:at] + struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30) + content[at + 36 :]


def trimmed():
    """A film that was cut between its key frames without being encoded again, so that an edit list hides its start."""
    file = BytesIO()
    as_is = {"avoid_negative_ts": "disabled"}
    with (
        av.open(BytesIO(filmed("mp4", "libx264", frames=16))) as source,
        av.open(file, "w", format="mp4", options=as_is) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = [time - round(1 / packet.time_base) for time in (packet.pts, packet.dts)]
                packet.stream = stream
                target.mux(packet)
    return file.getvalue()


def stored(name):
    return (STORED / name).read_bytes()


def remuxed(name, kind):
    """A stored film in another container. AV1 is not encoded here: SVT-AV1 makes root's process a real-time one."""
    file = BytesIO()
    with av.open(STORED / name) as source, av.open(file, "w", format=kind) as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return file.getvalue()


ID3 = b"ID3\4\0\0" + bytes([0, 0, 0, 32]) + b"TIT2" + bytes([0, 0, 0, 7, 0, 0, 3]) + b"A tone" + bytes(15)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" fill="red"/></svg>'
TIMES = [0, 20, 500, 510, 900, 1000, 1900, 2000]  # ms, of the frames of a film at no steady rate
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

IMAGES: Mapping[str, Case] = {
    "png": Case("PNG", "8 bits", partial(saved, "PNG")),
    "png-16": Case("PNG", "16 bits", deep_png),
    "png-1": Case("PNG", "1 bit", partial(saved, "PNG", "1")),
    "png-palette": Case("PNG", "palette, transparent", see_through),
    "png-la": Case("PNG", "grey with alpha", partial(saved, "PNG", "LA")),
    "png-rgba": Case("PNG", "colour with alpha", partial(saved, "PNG", "RGBA")),
    "png-text": Case("PNG", "2 MB of text", chatty_png),
    "png-wide": Case("PNG", "5000×1", partial(saved, "PNG", width=5000, height=1)),
    "png-tall": Case("PNG", "1×5000", partial(saved, "PNG", width=1, height=5000)),
    "png-pixel": Case("PNG", "1×1", partial(saved, "PNG", width=1, height=1)),
    "png-200": Case("PNG", "2000×10, 200 to 1", partial(saved, "PNG", width=2000, height=10)),
    "apng": Case("APNG", "3 pictures", partial(several, "PNG")),
    "jpeg": Case("JPEG", "baseline", partial(saved, "JPEG")),
    "jpeg-cmyk": Case("JPEG", "CMYK", partial(saved, "JPEG", "CMYK")),
    "jpeg-progressive": Case("JPEG", "progressive", partial(saved, "JPEG", progressive=True)),
    "jpeg-turned": Case("JPEG", "turned by EXIF", turned),
    "mpo": Case("MPO", "3 pictures", partial(several, "MPO")),
    "webp": Case("WebP", "still", partial(saved, "WEBP")),
    "webp-moving": Case("WebP", "animated", partial(several, "WEBP")),
    "gif": Case("GIF", "still", partial(saved, "GIF")),
    "gif-moving": Case("GIF", "animated", partial(several, "GIF")),
    "bmp": Case("BMP", "", partial(saved, "BMP")),
    "tiff": Case("TIFF", "uncompressed", partial(saved, "TIFF")),
    "tiff-deflate": Case("TIFF", "deflate", partial(saved, "TIFF", compression="tiff_adobe_deflate")),
    "avif": Case("AVIF", "AV1", partial(saved, "AVIF")),
    "avif-moving": Case("AVIF", "AV1, animated", partial(several, "AVIF")),
    "heic": Case("HEIC", "HEVC", partial(stored, "photo.heic")),
    "ico": Case("ICO", "", partial(saved, "ICO")),
    "jp2": Case("JPEG 2000", "", partial(saved, "JPEG2000")),
    "svg": Case("SVG", "", lambda: SVG),
}
FILMS: Mapping[str, Case] = {
    "mp4-h264": Case("MP4", "H.264", partial(filmed, "mp4", "libx264")),
    "mp4-h264-10": Case("MP4", "H.264, 10 bits", partial(filmed, "mp4", "libx264", pixel_format="yuv420p10le")),
    "mp4-h264-444": Case("MP4", "H.264, 4:4:4", partial(filmed, "mp4", "libx264", pixel_format="yuv444p")),
    "mp4-hevc": Case("MP4", "HEVC", partial(filmed, "mp4", "libx265")),
    "mp4-av1": Case("MP4", "AV1", partial(stored, "film.mp4")),
    "mp4-mpeg4": Case("MP4", "MPEG-4", partial(filmed, "mp4", "mpeg4")),
    "mp4-vp9": Case("MP4", "VP9", partial(filmed, "mp4", "libvpx-vp9")),
    "mp4-sound": Case("MP4", "H.264 with AAC", partial(filmed, "mp4", "libx264", sound="aac")),
    "mp4-fragments": Case("MP4", "H.264, fragmented", partial(filmed, "mp4", "libx264", options=FRAGMENTS)),
    "mp4-fragments-pipe": Case(
        "MP4",
        "H.264, fragmented with sound",
        partial(filmed, "mp4", "libx264", sound="aac", target=Pipe, options=FRAGMENTS),
    ),
    "mp4-variable": Case("MP4", "H.264, variable rate", partial(filmed, "mp4", "libx264", times=TIMES)),
    "mp4-odd": Case(
        "MP4", "H.264, 65×63", partial(filmed, "mp4", "libx264", width=65, height=63, pixel_format="yuv444p")
    ),
    "mp4-rotated": Case("MP4", "H.264, turned", rotated),
    "mp4-trimmed": Case("MP4", "H.264, edit list", trimmed),
    "mp4-one": Case("MP4", "H.264, one frame", partial(filmed, "mp4", "libx264", frames=1)),
    "mp4-two": Case("MP4", "H.264, two frames", partial(filmed, "mp4", "libx264", frames=2)),
    "mp4-three": Case("MP4", "H.264, three frames", partial(filmed, "mp4", "libx264", frames=3)),
    "mp4-tiny": Case("MP4", "H.264, 2×2", partial(filmed, "mp4", "libx264", width=2, height=2)),
    "mp4-wide": Case("MP4", "H.264, 1024×2", partial(filmed, "mp4", "libx264", width=1024, height=2)),
    "mov-h264": Case("MOV", "H.264", partial(filmed, "mov", "libx264")),
    "mov-prores": Case("MOV", "ProRes", partial(filmed, "mov", "prores_ks", pixel_format="yuv422p10le")),
    "mov-mjpeg": Case("MOV", "Motion JPEG", partial(filmed, "mov", "mjpeg", pixel_format="yuvj420p")),
    "mov-png": Case("MOV", "PNG", partial(filmed, "mov", "png", pixel_format="rgb24")),
    "3gp-h263": Case("3GP", "H.263", partial(filmed, "3gp", "h263", width=128, height=96, rate=25)),
    "webm-vp8": Case("WebM", "VP8", partial(filmed, "webm", "libvpx")),
    "webm-vp9": Case("WebM", "VP9", partial(filmed, "webm", "libvpx-vp9")),
    "webm-av1": Case("WebM", "AV1", partial(remuxed, "film.mp4", "webm")),
    "webm-recorded": Case(
        "WebM", "VP8 with Opus, recorded", partial(filmed, "webm", "libvpx", sound="libopus", target=Pipe)
    ),
    "webm-recorded-vp9": Case("WebM", "VP9, recorded", partial(filmed, "webm", "libvpx-vp9", target=Pipe)),
    "mkv-h264": Case("Matroska", "H.264", partial(filmed, "matroska", "libx264")),
    "mkv-hevc": Case("Matroska", "HEVC", partial(filmed, "matroska", "libx265")),
    "mkv-av1": Case("Matroska", "AV1", partial(remuxed, "film.mp4", "matroska")),
    "mkv-recorded": Case("Matroska", "H.264, recorded", partial(filmed, "matroska", "libx264", target=Pipe)),
    "webm-variable": Case("WebM", "VP8, variable rate", partial(filmed, "webm", "libvpx", times=TIMES)),
    "mkv-mpeg2": Case("Matroska", "MPEG-2", partial(filmed, "matroska", "mpeg2video", rate=25)),
    "mkv-ffv1": Case("Matroska", "FFV1", partial(filmed, "matroska", "ffv1")),
    "avi-mjpeg": Case("AVI", "Motion JPEG", partial(filmed, "avi", "mjpeg", pixel_format="yuvj420p")),
    "avi-mpeg4": Case("AVI", "MPEG-4", partial(filmed, "avi", "mpeg4")),
    "avi-msmpeg4": Case("AVI", "MS MPEG-4", partial(filmed, "avi", "msmpeg4")),
    "avi-raw": Case("AVI", "uncompressed", partial(filmed, "avi", "rawvideo", pixel_format="bgr24")),
    "ts-h264": Case("MPEG-TS", "H.264", partial(filmed, "mpegts", "libx264")),
    "ogv-theora": Case("Ogg", "Theora", partial(stored, "theora.ogv")),
    "gif-film": Case("GIF", "as a video", partial(several, "GIF")),
}
SOUNDS: Mapping[str, Case] = {
    "wav": Case("WAV", "PCM, 16 bits", wav),
    "wav-8": Case("WAV", "PCM, 8 bits", partial(sounded, "wav", "pcm_u8")),
    "wav-24": Case("WAV", "PCM, 24 bits", partial(sounded, "wav", "pcm_s24le")),
    "wav-32": Case("WAV", "PCM, 32 bits", partial(sounded, "wav", "pcm_s32le")),
    "wav-float": Case("WAV", "float", partial(sounded, "wav", "pcm_f32le")),
    "wav-double": Case("WAV", "double", partial(sounded, "wav", "pcm_f64le")),
    "wav-stereo": Case("WAV", "PCM, stereo", partial(wav, channels=2)),
    "wav-alaw": Case("WAV", "A-law", partial(sounded, "wav", "pcm_alaw", rate=8000)),
    "wav-mulaw": Case("WAV", "µ-law", partial(sounded, "wav", "pcm_mulaw", rate=8000)),
    "wav-adpcm": Case("WAV", "IMA ADPCM", partial(sounded, "wav", "adpcm_ima_wav")),
    "wav-ms-adpcm": Case("WAV", "MS ADPCM", partial(sounded, "wav", "adpcm_ms")),
    "wav-g722": Case("WAV", "G.722", partial(sounded, "wav", "g722")),
    "wav-mp3": Case("WAV", "MP3", partial(sounded, "wav", "libmp3lame")),
    "wav-71": Case("WAV", "8 channels (extensible)", partial(wav, channels=8)),
    "wav-1hz": Case("WAV", "1 Hz", partial(wav, seconds=5, rate=1)),
    "wav-192k": Case("WAV", "192 kHz", partial(wav, seconds=0.5, rate=192_000)),
    "wav-sample": Case("WAV", "one sample", partial(wav, seconds=1 / RATE)),
    "wav-none": Case("WAV", "no sample", partial(wav, seconds=0)),
    "wav-riff-whole": Case("WAV", "RIFF says the whole file's size", partial(wav_with, riff=32044)),
    "wav-riff-0": Case("WAV", "RIFF says 0", partial(wav_with, riff=0)),
    "wav-data-0": Case("WAV", "data says 0", partial(wav_with, data=0)),
    "wav-data-unknown": Case("WAV", "data says 0xFFFFFFFF", partial(wav_with, riff=0xFFFFFFFF, data=0xFFFFFFFF)),
    "wav-data-0-riff-0": Case("WAV", "both say 0", partial(wav_with, riff=0, data=0)),
    "wav-twice": Case("WAV", "two in one file", lambda: wav() + wav()),
    "wav-tail": Case("WAV", "bytes behind", partial(wav_with, extra=b"\0" * 99)),
    "rf64": Case("RF64", "PCM", partial(sounded, "wav", "pcm_s16le", options={"rf64": "always"})),
    "flac": Case("FLAC", "FLAC", partial(sounded, "flac", "flac")),
    "flac-24": Case("FLAC", "24 bits", partial(sounded, "flac", "flac", sample_format="s32")),
    "flac-stereo": Case("FLAC", "stereo", partial(sounded, "flac", "flac", layout="stereo")),
    "flac-piped": Case("FLAC", "of unknown length", partial(sounded, "flac", "flac", target=Pipe)),
    "flac-twice": Case("FLAC", "two in one file", lambda: sounded("flac", "flac") * 2),
    "flac-id3": Case("FLAC", "with ID3 before it", lambda: ID3 + sounded("flac", "flac")),
    "ogg-flac": Case("Ogg", "FLAC", partial(sounded, "ogg", "flac")),
    "ogg-vorbis": Case(
        "Ogg", "Vorbis", partial(sounded, "ogg", "vorbis", rate=48_000, layout="stereo", encoder={"strict": "-2"})
    ),
    "ogg-opus": Case("Ogg", "Opus", partial(sounded, "ogg", "libopus", rate=48_000)),
    "ogg-opus-endless": Case(
        "Ogg", "Opus without the end flag", lambda: without_the_end_flag(sounded("ogg", "libopus", rate=48_000))
    ),
    "ogg-chained": Case("Ogg", "Opus, two in one", lambda: sounded("ogg", "libopus", rate=48_000) * 2),
    "ogg-speex": Case("Ogg", "Speex", partial(stored, "speex.ogg")),
    "webm-opus": Case("WebM", "Opus", partial(sounded, "webm", "libopus", rate=48_000)),
    "webm-opus-recorded": Case("WebM", "Opus, recorded", partial(sounded, "webm", "libopus", rate=48_000, target=Pipe)),
    "webm-vorbis": Case(
        "WebM", "Vorbis", partial(sounded, "webm", "vorbis", rate=48_000, layout="stereo", encoder={"strict": "-2"})
    ),
    "mkv-flac": Case("Matroska", "FLAC", partial(sounded, "matroska", "flac")),
    "mkv-pcm": Case("Matroska", "PCM", partial(sounded, "matroska", "pcm_s16le", layout="stereo")),
    "mp3": Case("MP3", "MP3", partial(sounded, "mp3", "libmp3lame")),
    "mp3-stereo": Case("MP3", "stereo, 44.1 kHz", partial(sounded, "mp3", "libmp3lame", rate=44_100, layout="stereo")),
    "mp3-twice": Case("MP3", "two in one file", lambda: sounded("mp3", "libmp3lame") * 2),
    "mp3-cover": Case("MP3", "with ID3 and a cover", partial(sounded, "mp3", "libmp3lame", cover=True)),
    "mp2": Case("MP2", "MP2", partial(sounded, "mp2", "mp2")),
    "aac": Case("ADTS", "AAC", partial(sounded, "adts", "aac")),
    "aac-twice": Case("ADTS", "AAC, two in one file", lambda: sounded("adts", "aac") * 2),
    "m4a-aac": Case("M4A", "AAC", partial(sounded, "ipod", "aac")),
    "m4a-aac-stereo": Case("M4A", "AAC, stereo", partial(sounded, "ipod", "aac", rate=48_000, layout="stereo")),
    "m4a-alac": Case("M4A", "ALAC", partial(sounded, "ipod", "alac")),
    "m4a-alac-stereo": Case("M4A", "ALAC, stereo", partial(sounded, "ipod", "alac", layout="stereo")),
    "mp4-flac": Case("MP4", "FLAC", partial(sounded, "mp4", "flac")),
    "mp4-opus": Case("MP4", "Opus", partial(sounded, "mp4", "libopus", rate=48_000)),
    "mp4-fragments-opus": Case(
        "MP4", "Opus, recorded", partial(sounded, "mp4", "libopus", rate=48_000, target=Pipe, options=FRAGMENTS)
    ),
    "mp4-mp3": Case("MP4", "MP3", partial(sounded, "mp4", "libmp3lame")),
    "mov-pcm": Case("MOV", "PCM", partial(sounded, "mov", "pcm_s16le", layout="stereo")),
    "3gp-amr": Case("3GP", "AMR", partial(sounded, "3gp", "libopencore_amrnb", rate=8000)),
    "amr": Case("AMR", "AMR", partial(sounded, "amr", "libopencore_amrnb", rate=8000)),
    "aiff": Case("AIFF", "PCM", partial(sounded, "aiff", "pcm_s16be")),
    "caf": Case("CAF", "PCM", partial(sounded, "caf", "pcm_s16be")),
    "caf-alac": Case("CAF", "ALAC", partial(sounded, "caf", "alac")),
    "aiff-float": Case("AIFF", "float", partial(sounded, "aiff", "pcm_f32be")),
    "au": Case("AU", "PCM", partial(sounded, "au", "pcm_s16be")),
    "film-sound": Case("MP4", "a film's sound", partial(filmed, "mp4", "libx264", sound="aac")),
    "film-silent": Case("MP4", "a film without sound", partial(filmed, "mp4", "libx264")),
}
SECONDS = {
    "wav-1hz": 5,
    "wav-192k": 0.5,
    "wav-sample": 0,
    "wav-none": 0,
    "film-sound": 2,
    "film-silent": 2,
} | dict.fromkeys(("wav-twice", "flac-twice", "ogg-chained", "mp3-twice", "aac-twice"), 2)
FILES: Mapping[str, Case] = {
    **{f"image.{name}": case for name, case in IMAGES.items()},
    **{f"video.{name}": case for name, case in FILMS.items()},
    **{f"audio.{name}": replace(case, seconds=SECONDS.get(name, 1)) for name, case in SOUNDS.items()},
}
