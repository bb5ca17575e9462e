"""Renders a tab as HTML for each component, and sends only what has changed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import gradio as gr

from frontend.bars import title, ttft_bars
from frontend.panes import pane_html
from frontend.race import PaneStatus
from frontend.race_image import race_svg
from frontend.sanitize import escape_html, render_markdown
from frontend.tab_state import TabState
from media import Media, Modality

Frame = tuple[Any, ...]  # a value for each component: status, conversation, a pane for each engine, bars, share buttons

DOING = {
    PaneStatus.ASKED: "{} reads the prompt",
    PaneStatus.ANSWERING: "{} answers",
    PaneStatus.STORING: "{} has answered, and its KV goes to the volume",
}
MEDIA_NAMES = {Modality.IMAGE: "picture", Modality.AUDIO: "sound", Modality.VIDEO: "film"}
SHOWN_BYTES = 2**20  # larger files are named instead of shown


class TabView:
    """Renders a tab's state, and remembers what was last sent to it."""

    def __init__(self) -> None:
        self._sent: Frame = ()
        self._cache: dict[str, tuple[object, str]] = {}

    def changed_html(self, state: TabState) -> Frame:
        """Returns the components that have changed since the last call; the others are skipped."""
        now = self.all_html(state)
        sent = self._sent or (None,) * len(now)
        self._sent = now
        return tuple(gr.skip() if new == old else new for new, old in zip(now, sent, strict=True))

    def all_html(self, state: TabState) -> Frame:
        """Returns all components."""
        race = state.race
        panes = (
            self._cached(
                engine.name, (race.panes[engine.name], race.baseline(engine)), partial(pane_html, race, engine)
            )
            for engine in state.engines
        )
        talk = self._cached("conversation", (state.turns, race.prompt), lambda: conversation_html(state))
        return status_line(state), talk, *panes, ttft_bars(race, state.engines), share_buttons(state)

    def _cached(self, name: str, key: object, render: Callable[[], str]) -> str:
        """Renders only if the key has changed, because frames are only milliseconds apart."""
        if name not in self._cache or self._cache[name][0] != key:
            self._cache[name] = key, render()
        return self._cache[name][1]


def unchanged(state: TabState) -> Frame:
    """Returns a frame that leaves all components as they are."""
    return tuple(gr.skip() for _ in range(4 + len(state.engines)))


def status_line(state: TabState) -> str:
    """Returns one sentence, which screen readers announce when it changes."""
    caption = "" if state.visitors_ahead or state.measured_elsewhere else state.caption
    told = " told" if caption else ""
    return f'<div class="stage{told}">{escape_html(caption or _doing(state))}</div>'


def _doing(state: TabState) -> str:
    ahead = f"{state.visitors_ahead} {'visitor is' if state.visitors_ahead == 1 else 'visitors are'} before you"
    if state.measured_elsewhere:
        position = ahead if state.visitors_ahead else "your question comes next"
        return (
            f"{state.measured_elsewhere} is running in another process, and both would disturb each other's timings: "
            f"{position}."
        )
    if state.visitors_ahead:
        return f"{ahead}: one at a time, or they would disturb each other's timings."
    busy = [
        DOING[pane.status].format(title(engine))
        for engine in state.engines
        if (pane := state.race.panes[engine.name]).status in DOING
    ]
    return "; ".join(busy) + "." if busy else ""


def conversation_html(state: TabState) -> str:
    """Returns the earlier turns and the question that the panes answer; empty before the first question."""
    asked = state.race.prompt
    if asked is None and not state.turns:
        return ""
    turns = "".join(
        f"<li>{_question(turn.question, turn.media, number)}{_answer(turn.answer, number)}</li>"
        for number, turn in enumerate(state.turns)
    )
    now = f"<li>{_question(asked.question, asked.media, len(state.turns))}</li>" if asked else ""
    return f'<ol class="turns" aria-label="Conversation">{turns}{now}</ol>'


def _question(text: str, media: Sequence[Media], number: int) -> str:
    shown = f'<div class="media">{"".join(map(_media, media))}</div>' if media else ""
    return (
        f'<div class="asked"><div class="words">{shown}{escape_html(text)}</div><span class="tools">'
        f'<button type="button" data-edit="{number}" aria-label="Edit question {number + 1}">Edit</button>'
        f'<button type="button" data-copy="words" aria-label="Copy question {number + 1}">Copy</button></span></div>'
    )


def _answer(text: str, number: int) -> str:
    return (
        f'<div class="reply"><div class="words">{render_markdown(text)}</div><span class="tools">'
        f'<button type="button" data-copy="reply" aria-label="Copy answer {number + 1}">Copy</button></span></div>'
    )


def _media(media: Media) -> str:
    """Returns a small picture or player; a large file, or one with a URL, is only named."""
    name = escape_html(media.name)
    if media.url or media.size > SHOWN_BYTES:
        return f'<span class="chip">{MEDIA_NAMES[media.modality]}: {name}</span>'
    source = escape_html(f"data:{media.mime};base64,{media.base64}")
    if media.modality is Modality.IMAGE:
        return f'<img src="{source}" alt="{name}" title="{name}">'
    tag = "audio" if media.modality is Modality.AUDIO else "video"
    return f'<{tag} controls preload="metadata" src="{source}" aria-label="{name}" title="{name}"></{tag}>'


def share_buttons(state: TabState) -> str:
    """Returns buttons for a link and a picture once a race is over; no link if the question is too long for a URL."""
    over = not any(pane.at_work for pane in state.race.panes.values())
    image = race_svg(state, datetime.now().astimezone()) if over else ""
    if not image:
        return ""
    svg = f"data:image/svg+xml;base64,{base64.b64encode(image.encode()).decode()}"
    query = escape_html(state.link.query())
    link = f'<button type="button" data-copy="link" data-query="{query}">Copy link</button>' if state.link.fits else ""
    return (
        f'<div class="share">{link}'
        f'<button type="button" data-svg="{svg}">Picture (SVG)</button>'
        f'<button type="button" data-png="{svg}">Picture (PNG)</button></div>'
    )
