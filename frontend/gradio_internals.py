"""The only places where the page touches what Gradio keeps to itself; a test checks that each is still there."""

from __future__ import annotations

import gradio as gr

QUEUE = {  # settings of its queue that it offers no other way to
    "sleep_when_free": 0.05,  # else it looks for work 1,000 times a second, which takes 6 % of a shared core
    "ANAYLTICS_CACHE_FREQUENCY": 10**9,  # (sic) statistics of all events, made after each event and shown nowhere
    "ANALYTICS_MAX_EVENTS": 100,
}


def set_up_queue(page: gr.Blocks) -> None:
    """Events are not limited here: those that measure wait in the page's own line (measurement_queue.py)."""
    page.queue(default_concurrency_limit=None)
    for name, value in QUEUE.items():
        setattr(page._queue, name, value)


def forget_session(page: gr.Blocks, session: str) -> None:
    """Frees what Gradio would keep of a closed tab for a later visit."""
    page.state_holder.session_data.pop(session, None)
