"""Films with their length in their head.

One that was recorded as a stream, as browsers record a camera, does not say how long it is; vLLM counts its frames by
that, finds none, and fails.
"""

from __future__ import annotations

from io import BytesIO

import av

from config.errors import MediaError
from media.formats import mime_subtype, open_container

STREAMED = "matroska,webm"  # the one of our containers that may leave it out; FFmpeg's name
SAME_EACH_TIME = {"fflags": "+bitexact"}  # no random id, or equal films would have other keys


def with_duration(content: bytes, name: str) -> bytes:
    """A film that has been examined, its pictures and sound as they are; the same bytes where it says its length.

    Raises MediaError for one that cannot be written again.
    """
    try:
        return _timed(content)
    except (av.error.FFmpegError, ValueError) as exc:  # PyAV's own, of a codec that has no place in its container
        fact = f"{name} does not say how long it is, and cannot be written again with its length ({exc})"
        raise MediaError(f"{fact}: convert it to MP4") from exc


def _timed(content: bytes) -> bytes:
    with open_container(content) as source:
        if source.format.name != STREAMED or source.duration is not None:
            return content
        streams = (*source.streams.video, *source.streams.audio)
        kind = mime_subtype(source, content).removeprefix("x-")
        written = BytesIO()
        with av.open(written, "w", format=kind, options=SAME_EACH_TIME) as target:
            kept = {stream.index: target.add_stream_from_template(stream) for stream in streams}
            for packet in source.demux(*streams):
                if packet.size:  # the last one of each stream only says that there are no more
                    packet.stream = kept[packet.stream.index]
                    target.mux(packet)
        return written.getvalue()
