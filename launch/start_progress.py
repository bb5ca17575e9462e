"""What a start says while it lasts: a line when something is done, and how long the rest has been waited for."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

EVERY_S = 30  # between two lines about waiting, where there is no terminal to write one line anew


class StartProgress:
    """On a terminal the last line counts the seconds; in a log there is a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")
        self._told = 0.0

    def __enter__(self) -> StartProgress:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def done(self, what: str, seconds: float) -> None:
        """One thing is finished, so many seconds after its start."""
        self._console.print(f"  {what} after {seconds:.0f} s")

    def waiting(self, names: Collection[str], seconds: float) -> None:
        """These are not finished yet."""
        text = f"waiting for {', '.join(names)}: {seconds:.0f} s"
        if self._console.is_terminal:
            self._status.update(text)
        elif seconds - self._told >= EVERY_S or seconds < self._told:
            self._told = seconds
            self._console.print(f"  {text}")
