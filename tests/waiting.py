"""Waits for what another process does."""

import time


def until(condition, within=20.0):
    """Waits for an event of another process, which nothing here can be woken by."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found
