"""The standard's own examples, and what servers make of it."""

import pytest

from client.events import EVENT_BYTES, EventParser, EventTooLarge


def events(*received):
    parser = EventParser()
    return [data for each in received for data in parser.feed(each)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
        (b": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n", [b"first", b"second", b" third"]),
        (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
        (b"data\n\ndata\ndata\n\ndata:", [b"\n"]),
        (b"event: x\ndata: 1\nretry: 3\n\n", [b"1"]),
        (b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n", [b"1"]),
        (b"data: 1\r\rdata: 2\r\n\r\ndata: 3\n\r\n", [b"1", b"2", b"3"]),
        (b"data: 1\n\ndata: no end\n", [b"1"]),
        (b"datum: 1\n\n data: 2\n\n", []),
    ],
)
def test_a_stream_is_read_as_the_standard_says_wherever_it_is_cut(stream, data):
    assert events(stream) == data
    assert events(*(stream[place : place + 1] for place in range(len(stream)))) == data
    for place in range(len(stream)):
        assert events(stream[:place], b"", stream[place:]) == data


def test_an_event_is_given_with_the_byte_that_ends_it():
    parser = EventParser()
    assert [parser.feed(each) for each in (b"data: 1\r", b"\r", b"\ndata: 2\n\n")] == [[], [b"1"], [b"2"]]


def test_a_stream_that_never_ends_an_event_is_not_kept():
    lines = [b"x" * (2**20 - 1) + b"\n"] * (EVENT_BYTES // 2**20)
    with pytest.raises(EventTooLarge):
        events(*lines, b"x")
    with pytest.raises(EventTooLarge):
        EventParser().feed(b"data: " + b"x" * EVENT_BYTES + b"\n\n")
