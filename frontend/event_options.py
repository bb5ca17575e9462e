"""How the page's events are wired: Gradio shows no progress of its own, and most are no API.

A hidden progress tracker still draws sixty times a second for as long as its event is pending, on cores that the
engines may share; so no component has one.
"""

from __future__ import annotations

from typing import Any

NO_PROGRESS: Any = {"show_progress": "hidden", "show_progress_on": []}
NO_PROGRESS_NO_API: Any = {**NO_PROGRESS, "api_visibility": "private"}
