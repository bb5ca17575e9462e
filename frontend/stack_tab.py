"""The Stack tab: a card for each service, and the command lines. It is refreshed every few seconds while it is open,
except during a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gradio as gr

from frontend.app_state import AppState
from frontend.event_options import NO_PROGRESS_NO_API, timer_while_selected
from frontend.sanitize import escape_html
from frontend.stack_status import StackCard, read_stack, stack_commands

EVERY_S = 5
COLD = "Your document has a new nonce: no engine has any of its KV, whatever they have cached already."


def stack_tab(app: AppState, tabs: gr.Tabs, tab: gr.Tab) -> gr.Button:
    """Builds the tab; returns its «Start cold» button, which the Race tab wires."""
    shown = gr.HTML("", elem_id="stack")
    with gr.Row(elem_id="stack-actions"):
        refresh = gr.Button("Look again", size="sm", elem_id="look")
        cold = gr.Button("Start cold", size="sm", elem_id="stack-cold")
    panel, last = StackPanel(app), gr.State("")
    for trigger in (tab.select, refresh.click):
        trigger(panel.drawn, None, [shown, last], **NO_PROGRESS_NO_API)
    timer_while_selected(tabs, tab, EVERY_S).tick(panel.redrawn, last, [shown, last], **NO_PROGRESS_NO_API)
    cold.click(lambda: gr.Info(COLD, title="Cold"), None, None, **NO_PROGRESS_NO_API)
    return cold


class StackPanel:
    """The last panel that was read, shared by all visitors, because each reading costs the engines time."""

    def __init__(self, app: AppState, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self._clock = app, clock
        self._commands = stack_commands(app.settings)
        self._read, self._read_at = "", 0.0

    async def drawn(self) -> tuple[str, str]:
        """Returns the current panel, or the last one during a measurement."""
        if measured := self.app.queue.current:
            now = self._as_read(escape_html(measured))
        else:
            now = self._read = panel_html(await read_stack(self.app.topology, self.app.settings), self._commands)
            self._read_at = self._clock()
        return now, now

    async def redrawn(self, last: str) -> tuple[Any, Any]:
        """Updates the panel only if it has changed; asks no service during a measurement."""
        if self.app.queue.current:
            return gr.skip(), gr.skip()
        now, _ = await self.drawn()
        return (gr.skip(), gr.skip()) if now == last else (now, now)

    def _as_read(self, measured: str) -> str:
        if not self._read:
            return f'<p class="note">The engines are asked when {measured} has ended.</p>'
        age = self._clock() - self._read_at
        return f'<p class="note">As of {age:.0f} s ago: {measured} is running.</p>{self._read}'


def panel_html(cards: Iterable[StackCard], commands: Mapping[str, str]) -> str:
    """Returns all cards, followed by the command lines."""
    lines = "".join(
        f'<figure class="code"><figcaption>{name}<button type="button" data-copy="code" '
        f'aria-label="Copy the command of {name}">Copy</button></figcaption>'
        f'<pre tabindex="0"><code>{escape_html(line)}</code></pre></figure>'
        for name, line in commands.items()
    )
    return f'<div class="cards">{"".join(map(_card, cards))}</div><h2>Command lines</h2>{lines}'


HEALTH = {True: '<span class="up">● healthy</span>', False: '<span class="down">○ no answer</span>', None: ""}


def _card(card: StackCard) -> str:
    name = f" <code>{card.name}</code>" if card.name else ""
    status = " · ".join(filter(None, (card.kind, HEALTH[card.healthy])))
    facts = "".join(f"<div><dt>{key}</dt><dd>{escape_html(value)}</dd></div>" for key, value in card.facts.items())
    return (
        f'<section class="card {card.name}" data-service="{card.name}" aria-label="{card.heading}">'
        f"<h2>{card.heading}{name}</h2>{f'<p>{status}</p>' if status else ''}<dl>{facts}</dl></section>"
    )
