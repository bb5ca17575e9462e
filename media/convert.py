"""Converts files that vLLM would misread, or could not read.

The result always has the same bytes, because the KV cache finds media by their content.

- Sounds become FLAC. vLLM reads sounds with libsndfile, or with FFmpeg if libsndfile does not support the format. It
  misreads FFmpeg's integer samples as fractions of one, and interleaved channels as a single channel. The model then
  gets noise, without any error.
- Videos recorded as a stream, for example by a browser from a camera, get a duration. vLLM derives the number of frames
  from it; without a duration it finds no frames and fails.
"""

from __future__ import annotations

from io import BytesIO
from itertools import chain

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from config.errors import MediaError
from media.formats import mime_subtype, open_container
from media.truncation import claims_no_samples, is_chained

LIBSNDFILE = {  # supported containers by FFmpeg's names, and prefixes of the codecs that it decodes in them
    "wav": ("pcm_", "adpcm_ms", "adpcm_ima_wav", "mp3"),
    "flac": ("flac",),
    "ogg": ("vorbis", "opus"),
    "mp3": ("mp",),
    "aiff": ("pcm_",),
    "caf": ("pcm_",),
    "au": ("pcm_",),
}
MAX_FLAC_CHANNELS = 8
SAME_DURATION_S = 0.01
MAY_LACK_DURATION = "matroska,webm"  # FFmpeg's name of the container
DETERMINISTIC = {"fflags": "+bitexact"}  # no random id


def as_readable_audio(content: bytes, name: str, seconds: float) -> tuple[bytes, bool]:
    """Returns a sound in a form that vLLM can read, and whether it was converted. Raises MediaError.

    The sound must have been checked; `seconds` is its decoded length.
    """
    try:
        with open_container(content) as source:
            stream = source.streams.audio[0]
            if _is_read_by_vllm(source.format.name, stream, content, seconds):
                return content, False
            return _to_flac(source, stream), True
    except (av.error.FFmpegError, ValueError, OverflowError) as exc:
        raise MediaError(
            f"{name} is not read by vLLM, and cannot be written as FLAC ({exc}): convert it to WAV"
        ) from exc


def _is_read_by_vllm(container: str, stream: AudioStream, content: bytes, seconds: float) -> bool:
    if container not in LIBSNDFILE:
        return stream.format.name == "fltp" or (stream.format.name == "flt" and stream.channels == 1)
    claimed = float((stream.duration or 0) * (stream.time_base or 0))
    misleading = {  # libsndfile trusts headers
        "ogg": is_chained(content),
        "wav": claims_no_samples(content),
        "flac": abs(claimed - seconds) > SAME_DURATION_S,
    }
    codec = stream.codec_context.codec.canonical_name
    return not misleading.get(container) and codec.startswith(LIBSNDFILE[container])


def _to_flac(source: InputContainer, stream: AudioStream) -> bytes:
    """Converts a sound to FLAC: lossless up to 24 bits, and with its pauses."""
    rate, layout = stream.rate, stream.layout if stream.channels <= MAX_FLAC_CHANNELS else "mono"
    sample_format = "s16" if stream.format.bytes <= 2 else "s32"
    written = BytesIO()
    with av.open(written, "w", format="flac", options=DETERMINISTIC) as target:
        flac = target.add_stream("flac", rate=rate, layout=layout)
        flac.codec_context.format = sample_format
        converter = av.AudioResampler(format=sample_format, layout=layout, rate=rate)
        for frame in chain(source.decode(stream), (None,)):
            for converted in converter.resample(frame):
                converted.pts = None
                target.mux(flac.encode(converted))
        target.mux(flac.encode())
    return written.getvalue()


def with_duration(content: bytes, name: str) -> bytes:
    """Adds the duration to a checked video that lacks it, without re-encoding. Raises MediaError.

    A video with a duration is returned unchanged.
    """
    try:
        with open_container(content) as source:
            if source.format.name != MAY_LACK_DURATION or source.duration is not None:
                return content
            return _remux(source, mime_subtype(source, content).removeprefix("x-"))
    except (av.error.FFmpegError, ValueError) as exc:  # ValueError: the container does not support the codec
        raise MediaError(
            f"{name} does not say how long it is, and cannot be written again with its length ({exc}): "
            "convert it to MP4"
        ) from exc


def _remux(source: InputContainer, container: str) -> bytes:
    streams = (*source.streams.video, *source.streams.audio)
    written = BytesIO()
    with av.open(written, "w", format=container, options=DETERMINISTIC) as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in streams}
        for packet in source.demux(*streams):
            if packet.size:  # the last packet of each stream is empty
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return written.getvalue()
