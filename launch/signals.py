"""Ends a command on Ctrl+C, SIGTERM or a closed terminal's SIGHUP; its cleanup cannot be interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_once() -> None:
    """Makes the first of these signals raise KeyboardInterrupt; later ones are ignored.

    If SIGINT or SIGHUP is ignored already, as under nohup, it stays so.
    """
    for each in END_SIGNALS:
        if each is signal.SIGTERM or signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _interrupt)


def _interrupt(*_: object) -> None:
    for each in END_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignores these signals until the end of the `with` block."""
    before = [signal.signal(each, signal.SIG_IGN) for each in END_SIGNALS]
    try:
        yield
    finally:
        for each, handler in zip(END_SIGNALS, before, strict=True):
            signal.signal(each, handler)
