"""The stack's tab: looked at anew every few seconds while it is open."""

from __future__ import annotations

from typing import Any

import gradio as gr

from frontend.house import House
from frontend.stack import commands, look
from frontend.stack_view import panel

EVERY_S = 5
PRIVATE: Any = {"show_progress": "hidden", "api_visibility": "private"}


def stack_tab(house: House, tab: gr.Tab) -> None:
    """Shows; «Start cold», beside the question, is what changes anything."""
    shown = gr.HTML("", elem_id="stack")
    refresh = gr.Button("Look again", size="sm", elem_id="look")
    lines = commands(house.topology, house.settings)

    async def drawn() -> str:
        return panel(await look(house.topology, house.settings), lines)

    tab.select(drawn, None, shown, **PRIVATE)
    refresh.click(drawn, None, shown, **PRIVATE)
