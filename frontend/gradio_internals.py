"""The private attributes of Gradio that the page touches; tests/frontend/test_gradio_internals.py checks them."""

from __future__ import annotations

import gradio as gr

QUEUE = {  # of `Blocks._queue`: settings that Gradio offers no other way to
    "sleep_when_free": 0.05,  # seconds; by default it looks for work 1,000 times a second: 6 % of a shared core
    "ANAYLTICS_CACHE_FREQUENCY": 10**9,  # (sic) statistics of all events, made after each, which the page never shows
    "ANALYTICS_MAX_EVENTS": 100,
}


def tune_queue(page: gr.Blocks) -> None:
    """So that an idle page takes no CPU time from engines that share its cores. Call it after `page.queue()`."""
    for name, value in QUEUE.items():
        setattr(page._queue, name, value)


def forget_session(page: gr.Blocks, session_hash: str) -> None:
    """Gradio would keep a closed tab's session, a third of a MiB, until SESSIONS others have come."""
    page.state_holder.session_data.pop(session_hash, None)
