"""How the page's events are wired: Gradio shows no progress of its own, and most are no API.

A hidden progress tracker still draws sixty times a second for as long as its event is pending, on cores that the
engines may share; so no component has one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

NO_PROGRESS: Any = {"show_progress": "hidden", "show_progress_on": []}
NO_PROGRESS_NO_API: Any = {**NO_PROGRESS, "api_visibility": "private"}


def timer_while_selected(tabs: gr.Tabs, tab: gr.Tab, every_s: float) -> gr.Timer:
    """A timer of each visitor's own that ticks while the tab is open; its first tick comes `every_s` after that."""
    timer = gr.Timer(every_s, active=False)

    def selected(event: gr.SelectData) -> gr.Timer:
        return gr.Timer(active=event.value == tab.label)

    tabs.select(selected, None, timer, **NO_PROGRESS_NO_API)
    return timer
