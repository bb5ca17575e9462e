"""A timer that ticks while one tab is open, and is quiet else."""

from __future__ import annotations

import gradio as gr

from frontend.event_options import NO_PROGRESS_NO_API


def timer_while_selected(tabs: gr.Tabs, tab: gr.Tab, every_s: float) -> gr.Timer:
    """Of each visitor's own; the tab's own `select` has drawn it before the first tick."""
    timer = gr.Timer(every_s, active=False)

    def selected(event: gr.SelectData) -> gr.Timer:
        return gr.Timer(active=event.value == tab.label)

    tabs.select(selected, None, timer, **NO_PROGRESS_NO_API)
    return timer
