"""Server-sent events, by the WHATWG's standard: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from codecs import BOM_UTF8

EVENT_BYTES = 2**23  # of one event; some servers send a whole answer as one
LINE_BYTES = 64  # of an event that may be the last


class EventTooLarge(ValueError):
    """An event has no end within EVENT_BYTES."""


class EventParser:
    """The data of each event in a stream of bytes, which may be cut anywhere.

    Only the field `data` is read: an event's name, id and retry time are of no use here. Data stay bytes, since a JSON
    parser reads them next. An event without a blank line after it when the stream ends is dropped, as in the standard.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()  # the beginning of the next event, with \n as its line end
        self._start: bytes | None = b""  # what may be a byte order mark; None after the stream's first three bytes
        self._after_cr = False  # a \n that comes next ends no second line

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that end within `received`. Raises EventTooLarge."""
        if self._start is not None:
            received = self._without_mark(received)
        if self._after_cr or b"\r" in received:
            received = self._with_line_feeds(received)
        before = len(self._buffer)
        self._buffer += received
        end = self._buffer.rfind(b"\n\n", max(0, before - 1))
        events = []
        if end >= 0:
            events = bytes(self._buffer[:end]).split(b"\n\n")
            del self._buffer[: end + 2]
        if before + len(received) > EVENT_BYTES and any(len(event) > EVENT_BYTES for event in (*events, self._buffer)):
            raise EventTooLarge
        return [data for event in events if (data := _data(event))]

    @property
    def begun(self) -> bytes:
        """The data of an event that has not ended yet; empty from LINE_BYTES on."""
        return _data(bytes(self._buffer)) if 0 < len(self._buffer) < LINE_BYTES else b""

    def _without_mark(self, received: bytes) -> bytes:
        """Nothing while a byte order mark may still be coming."""
        start = (self._start or b"") + received
        if len(start) < len(BOM_UTF8) and BOM_UTF8.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(BOM_UTF8)

    def _with_line_feeds(self, received: bytes) -> bytes:
        if self._after_cr and received:
            received, self._after_cr = received.removeprefix(b"\n"), False
        if received:
            self._after_cr = received.endswith(b"\r")
        return received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(event: bytes) -> bytes:
    """The values of its `data:` lines, joined by \\n; empty where there are none."""
    if event.startswith(b"data: ") and b"\n" not in event:  # as vLLM sends it
        return event[6:]
    fields = (line.partition(b":") for line in event.split(b"\n"))
    return b"\n".join(value.removeprefix(b" ") for name, _, value in fields if name == b"data")
