"""The only uses of Gradio's private attributes; a test checks that each still exists."""

from __future__ import annotations

import gradio as gr

QUEUE = {  # settings of its queue that have no public API
    "sleep_when_free": 0.05,  # by default it polls 1,000 times a second, which uses 6 % of a shared core
    "ANAYLTICS_CACHE_FREQUENCY": 10**9,  # (sic) unused statistics, otherwise computed after each event
    "ANALYTICS_MAX_EVENTS": 100,
}


def set_up_queue(page: gr.Blocks) -> None:
    """Lifts Gradio's limit on concurrent events: those that measure wait in measurement_queue.py instead."""
    page.queue(default_concurrency_limit=None)
    for name, value in QUEUE.items():
        setattr(page._queue, name, value)


def forget_session(page: gr.Blocks, session: str) -> None:
    """Frees the data that Gradio would keep from a closed tab."""
    page.state_holder.session_data.pop(session, None)
