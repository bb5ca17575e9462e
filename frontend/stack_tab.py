"""The stack's tab: looked at anew every few seconds while it is open, and while nothing is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from frontend.app_state import AppState
from frontend.event_options import NO_PROGRESS_NO_API
from frontend.sanitize import escape_html
from frontend.stack_status import read_stack, stack_commands
from frontend.stack_view import panel
from frontend.tab_timer import timer_while_selected

EVERY_S = 5
COLD = "Your document has a new nonce: no engine has seen it, whatever they know already."


def stack_tab(app: AppState, tabs: gr.Tabs, tab: gr.Tab) -> gr.Button:
    """Only shows; returns «Start cold», whose work the race has to do."""
    shown = gr.HTML("", elem_id="stack")
    with gr.Row(elem_id="stack-actions"):
        refresh = gr.Button("Look again", size="sm", elem_id="look")
        cold = gr.Button("Start cold", size="sm", elem_id="stack-cold")
    does, last = StackPanel(app), gr.State("")
    for drawing in (tab.select, refresh.click):
        drawing(does.drawn, None, [shown, last], **NO_PROGRESS_NO_API)
    timer_while_selected(tabs, tab, EVERY_S).tick(does.redrawn, last, [shown, last], **NO_PROGRESS_NO_API)
    cold.click(lambda: gr.Info(COLD, title="Cold"), None, None, **NO_PROGRESS_NO_API)
    return cold


class StackPanel:
    """What was seen of the stack last, for all visitors: it costs the engines time to be looked at."""

    def __init__(self, app: AppState, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self._clock = app, clock
        self._lines = stack_commands(app.topology, app.settings)
        self._seen, self._at = "", 0.0

    async def drawn(self) -> tuple[str, str]:
        """As it is now, or was when nothing was measured."""
        if measured := self.app.queue.current:
            now = self._as_it_was(escape_html(measured))
        else:
            now = self._seen = panel(await read_stack(self.app.topology, self.app.settings), self._lines)
            self._at = self._clock()
        return now, now

    async def redrawn(self, last: str) -> tuple[Any, Any]:
        """Nothing is sent while nothing changes, or asked while something is measured."""
        if self.app.queue.current:
            return gr.skip(), gr.skip()
        now, _ = await self.drawn()
        return (gr.skip(), gr.skip()) if now == last else (now, now)

    def _as_it_was(self, measured: str) -> str:
        if not self._seen:
            return f'<p class="note">The engines are looked at when {measured} has ended.</p>'
        age = self._clock() - self._at
        return f'<p class="note">As of {age:.0f} s ago: {measured} is running.</p>{self._seen}'
