"""Parses server-sent events (WHATWG standard): https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from codecs import BOM_UTF8

EVENT_BYTES = 2**23  # limit of one event; some servers send a whole answer in one
LINE_BYTES = 64  # limit for `EventParser.begun`


class EventTooLarge(ValueError):
    """An event is larger than EVENT_BYTES."""


class EventParser:
    """Extracts the data of each event from a stream of bytes, which may be split anywhere.

    Only the field `data` is read; an event's name, id and retry time are not needed. Data remain bytes, because a JSON
    parser reads them next. As in the standard, an event that the stream's end leaves without a blank line is dropped.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()  # the start of the next event, with line ends as \n
        self._start: bytes | None = b""  # may be a byte order mark; None once that is decided
        self._after_cr = False  # then a \n at the start belongs to the same line end

    def feed(self, received: bytes) -> list[bytes]:
        """Returns the data of the events that are complete with `received`. Raises EventTooLarge."""
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
        """The data of an incomplete event; empty if it has LINE_BYTES or more."""
        return _data(bytes(self._buffer)) if 0 < len(self._buffer) < LINE_BYTES else b""

    def _without_mark(self, received: bytes) -> bytes:
        """Removes a byte order mark; returns no bytes while it may still be incomplete."""
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
    """Returns the values of the event's `data:` lines, joined by \\n; empty if there are none."""
    if event.startswith(b"data: ") and b"\n" not in event:  # the form that vLLM sends
        return event[6:]
    fields = (line.partition(b":") for line in event.split(b"\n"))
    return b"\n".join(value.removeprefix(b" ") for name, _, value in fields if name == b"data")
