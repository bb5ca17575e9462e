"""Sounds in a form that vLLM hears as they are.

vLLM reads with libsndfile, and with FFmpeg what libsndfile does not know at all. From FFmpeg it takes whole numbers for
fractions of one, and channels that alternate for one channel: a model is then given noise, with no error. What it would
misread, or not read, becomes FLAC here.
"""

from __future__ import annotations

from io import BytesIO
from itertools import chain

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from config.errors import MediaError
from media.formats import open_container
from media.truncation import claims_no_samples, is_chained

LIBSNDFILE = {  # containers that it knows, by FFmpeg's names, and the codecs that it decodes in them
    "wav": ("pcm_", "adpcm_ms", "adpcm_ima_wav", "mp3"),
    "flac": ("flac",),
    "ogg": ("vorbis", "opus"),
    "mp3": ("mp",),
    "aiff": ("pcm_",),
    "caf": ("pcm_",),
    "au": ("pcm_",),
}
FLAC_CHANNELS = 8
SAME_S = 0.01
SAME_EACH_TIME = {"fflags": "+bitexact"}  # or equal sounds would have other keys


def as_readable_audio(content: bytes, name: str, seconds: float) -> tuple[bytes, bool]:
    """A sound of so many seconds that has been examined, as vLLM reads it, and whether it was written again.

    Raises MediaError for one that cannot be.
    """
    try:
        with open_container(content) as source:
            stream = source.streams.audio[0]
            if _is_read(source.format.name, stream, content, seconds):
                return content, False
            return _flac(source, stream), True
    except (av.error.FFmpegError, ValueError, OverflowError) as exc:
        raise MediaError(
            f"{name} is not read by vLLM, and cannot be written as FLAC ({exc}): convert it to WAV"
        ) from exc


def _is_read(kind: str, stream: AudioStream, content: bytes, seconds: float) -> bool:
    if kind not in LIBSNDFILE:
        return stream.format.name == "fltp" or (stream.format.name == "flt" and stream.channels == 1)
    said = float((stream.duration or 0) * (stream.time_base or 0))
    misled = {  # libsndfile believes what their beginning says
        "ogg": is_chained(content),
        "wav": claims_no_samples(content),
        "flac": abs(said - seconds) > SAME_S,
    }
    if misled.get(kind):
        return False
    return stream.codec_context.codec.canonical_name.startswith(LIBSNDFILE[kind])


def _flac(source: InputContainer, stream: AudioStream) -> bytes:
    """Without loss up to 24 bits, its pauses as they are."""
    rate, layout = stream.rate, stream.layout if stream.channels <= FLAC_CHANNELS else "mono"
    depth = "s16" if stream.format.bytes <= 2 else "s32"
    written = BytesIO()
    with av.open(written, "w", format="flac", options=SAME_EACH_TIME) as target:
        flac = target.add_stream("flac", rate=rate, layout=layout)
        flac.codec_context.format = depth
        converter = av.AudioResampler(format=depth, layout=layout, rate=rate)
        for frame in chain(source.decode(stream), (None,)):
            for each in converter.resample(frame):
                each.pts = None
                target.mux(flac.encode(each))
        target.mux(flac.encode())
    return written.getvalue()
