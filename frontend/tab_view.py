"""What one tab shows of its visit, as HTML for each component; only what has changed is sent."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import gradio as gr

from config.topology import Engine
from frontend.bars import title, ttft_bars
from frontend.conversation_view import conversation_html
from frontend.link import ShareLink
from frontend.panes import pane_html
from frontend.race import PaneStatus
from frontend.race_image import race_svg
from frontend.sanitize import escape_html
from frontend.tab_state import TabState

DOING = {
    PaneStatus.ASKED: "{} reads the prompt",
    PaneStatus.ANSWERING: "{} answers",
    PaneStatus.STORING: "{} has answered, and its KV goes to the volume",
}


class TabView:
    """Remembers what was sent last: stage, conversation, a pane for each engine, bars, what can be shared."""

    def __init__(self, engines: Sequence[Engine], link: ShareLink) -> None:
        self._engines, self._link = engines, link
        self._sent: tuple[str, ...] = ()
        self._kept: dict[str, tuple[object, str]] = {}

    def frame(self, visit: TabState) -> tuple[Any, ...]:
        """Skips for what stayed."""
        now = self.whole(visit)
        sent = self._sent or (None,) * len(now)
        self._sent = now
        return tuple(gr.skip() if new == old else new for new, old in zip(now, sent, strict=True))

    def whole(self, visit: TabState) -> tuple[str, ...]:
        """Everything."""
        race = visit.race
        panes = (
            self._made(engine.name, (race.panes[engine.name], race.baseline(engine)), partial(pane_html, race, engine))
            for engine in self._engines
        )
        said = self._made("conversation", (visit.turns, race.prompt), lambda: conversation_html(visit))
        return status_line(visit), said, *panes, ttft_bars(race, self._engines), share_buttons(visit, self._link)

    def _made(self, name: str, key: object, make: Callable[[], str]) -> str:
        """Drawn anew only when its key is another: a frame comes every few milliseconds."""
        if name not in self._kept or self._kept[name][0] != key:
            self._kept[name] = key, make()
        return self._kept[name][1]


def status_line(visit: TabState) -> str:
    """One sentence, which screen readers say when it changes."""
    caption = "" if visit.before or visit.elsewhere else visit.caption
    told = " told" if caption else ""
    return f'<div class="stage{told}">{escape_html(caption or _doing(visit))}</div>'


def _doing(visit: TabState) -> str:
    others = "visitor is" if visit.before == 1 else "visitors are"
    if visit.elsewhere:
        place = f"{visit.before} {others} before you" if visit.before else "your question comes next"
        return f"{visit.elsewhere} is running in another process, and both would measure each other: {place}."
    if visit.before:
        return f"{visit.before} {others} before you: one at a time, or they would measure each other."
    busy = [
        DOING[pane.stage].format(title(engine))
        for engine in visit.engines
        if (pane := visit.race.panes[engine.name]).stage in DOING
    ]
    return "; ".join(busy) + "." if busy else ""


def share_buttons(visit: TabState, link: ShareLink) -> str:
    """A link and a picture, once a race is over."""
    over = not any(pane.at_work for pane in visit.race.panes.values())
    drawn = race_svg(visit, datetime.now().astimezone()) if over else ""
    if not drawn:
        return ""
    svg = f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
    return (
        f'<div class="share">{_link(link)}'
        f'<button type="button" data-svg="{svg}">Picture (SVG)</button>'
        f'<button type="button" data-png="{svg}">Picture (PNG)</button></div>'
    )


def _link(link: ShareLink) -> str:
    """None to a question that is too long for an address."""
    if not link.fits:
        return ""
    return f'<button type="button" data-copy="link" data-query="{escape_html(link.query())}">Copy link</button>'
