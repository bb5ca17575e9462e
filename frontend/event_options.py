"""Options for the page's events: no event shows Gradio's progress tracker, and most are not part of the API.

Even a hidden progress tracker redraws sixty times a second while its event is pending, on cores that the engines may
share, so no component has one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

NO_PROGRESS: Any = {"show_progress": "hidden", "show_progress_on": []}
NO_PROGRESS_NO_API: Any = {**NO_PROGRESS, "api_visibility": "private"}


def timer_while_selected(tabs: gr.Tabs, tab: gr.Tab, every_s: float) -> gr.Timer:
    """Returns a per-visitor timer that ticks while the tab is open, first `every_s` seconds after it is opened."""
    timer = gr.Timer(every_s, active=False)

    def selected(event: gr.SelectData) -> gr.Timer:
        return gr.Timer(active=event.value == tab.label)

    tabs.select(selected, None, timer, **NO_PROGRESS_NO_API)
    return timer
