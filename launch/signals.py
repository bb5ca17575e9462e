"""Ctrl+C, SIGTERM and a closed terminal's SIGHUP end a command alike, once; its cleaning up is not broken off."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_once() -> None:
    """The first of these signals raises KeyboardInterrupt, later ones do nothing; what nohup ignores stays ignored."""
    for each in END_SIGNALS:
        if each is signal.SIGTERM or signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _interrupt)


def _interrupt(*_: object) -> None:
    for each in END_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """None of these signals does anything meanwhile."""
    before = [signal.signal(each, signal.SIG_IGN) for each in END_SIGNALS]
    try:
        yield
    finally:
        for each, handler in zip(END_SIGNALS, before, strict=True):
            signal.signal(each, handler)
