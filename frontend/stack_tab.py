"""The stack's tab: looked at anew every few seconds while it is open."""

from __future__ import annotations

from typing import Any

import gradio as gr

from frontend.house import House
from frontend.stack import commands, look
from frontend.stack_view import panel
from frontend.while_open import while_open
from frontend.wiring import PRIVATE

EVERY_S = 5
COLD = "Your document has a new nonce: no engine has seen it, whatever they know already."


def stack_tab(house: House, tabs: gr.Tabs, tab: gr.Tab) -> gr.Button:
    """Only shows; returns «Start cold», whose work the race has to do."""
    shown = gr.HTML("", elem_id="stack")
    with gr.Row(elem_id="stack-actions"):
        refresh = gr.Button("Look again", size="sm", elem_id="look")
        cold = gr.Button("Start cold", size="sm", elem_id="stack-cold")
    lines = commands(house.topology, house.settings)
    last = gr.State("")

    async def drawn() -> tuple[str, str]:
        now = panel(await look(house.topology, house.settings), lines)
        return now, now

    async def redrawn(last: str) -> tuple[Any, Any]:
        """Nothing is sent while nothing changes, or asked while a benchmark measures."""
        if house.track.study:
            return gr.skip(), gr.skip()
        now, _ = await drawn()
        return (gr.skip(), gr.skip()) if now == last else (now, now)

    for drawing in (tab.select, refresh.click):
        drawing(drawn, None, [shown, last], **PRIVATE)
    while_open(tabs, tab, EVERY_S).tick(redrawn, last, [shown, last], **PRIVATE)
    cold.click(lambda: gr.Info(COLD, title="Cold"), None, None, **PRIVATE)
    return cold
