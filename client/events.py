"""Server-sent events, read as the WHATWG's standard has it: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator

EVENT_BYTES = 2**23  # of one event; some servers send a whole answer as one
LINE_BYTES = 64  # of an event that may be the last


class EventTooLarge(ValueError):
    """An event has no end within EVENT_BYTES."""


class EventParser:
    """The data of each event in a stream of bytes, which may be cut anywhere.

    Only the field `data` is read: an event's name, id and retry time are of no use here. Data stay bytes, since what is
    read next is JSON. An event that has no blank line behind it when the stream ends is dropped, as in the standard.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # the beginning of the next event, with \n as its line end
        self._mark: bytes | None = b""  # what may be a byte order mark; None behind the stream's start
        self._after_cr = False  # a \n that comes next ends no second line

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that end within `received`. Raises EventTooLarge."""
        if self._mark is not None:
            received = self._unmarked(received)
        if self._after_cr or b"\r" in received:
            received = self._with_one_line_end(received)
        if rest := self._rest:
            if b"\n\n" not in received and not (received[:1] == b"\n" == rest[-1:]):
                return self._keep(received)
            received, self._rest = bytes(rest) + received, bytearray()
        *events, last = received.split(b"\n\n")
        if len(received) > EVENT_BYTES and any(len(event) > EVENT_BYTES for event in events):
            raise EventTooLarge
        if last:
            self._keep(last)
        return [data for event in events if (data := _data(event))]

    @property
    def begun(self) -> bytes:
        """The data of an event that has not ended yet, as far as they have come; empty from LINE_BYTES on."""
        return _data(bytes(self._rest)) if 0 < len(self._rest) < LINE_BYTES else b""

    def _unmarked(self, received: bytes) -> bytes:
        """Nothing while a byte order mark may still be coming."""
        start = (self._mark or b"") + received
        if len(start) < len(BOM_UTF8) and BOM_UTF8.startswith(start):
            self._mark = start
            return b""
        self._mark = None
        return start.removeprefix(BOM_UTF8)

    def _with_one_line_end(self, received: bytes) -> bytes:
        if self._after_cr and received:
            received, self._after_cr = received.removeprefix(b"\n"), False
        if received:
            self._after_cr = received.endswith(b"\r")
        return received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, part: bytes) -> list[bytes]:
        self._rest += part
        if len(self._rest) > EVENT_BYTES:
            raise EventTooLarge
        return []


def _data(event: bytes) -> bytes:
    """What stands behind `data:` on each line, joined by \\n; empty where there is none."""
    if event.startswith(b"data: ") and b"\n" not in event:  # as vLLM sends it
        return event[6:]
    return b"\n".join(_values(event))


def _values(event: bytes) -> Iterator[bytes]:
    for line in event.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            yield value.removeprefix(b" ")
