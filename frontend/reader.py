"""The handlers that bring a document: chosen, uploaded, pasted or cold, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engines.document import BUILT_IN, read_document
from engines.errors import ArenaError, DocumentError
from frontend.choices import Choices
from frontend.context import TokenSize, described, excerpt
from frontend.house import House
from frontend.link import Link
from frontend.screen import Screen
from frontend.visitor import NO_DOCUMENT, Visit, title_of

TITLES = {title_of(path): path for path in BUILT_IN}


class Reader:
    """One for all visitors; each handler finds the tab's desk by its session."""

    def __init__(self, house: House) -> None:
        self.house, self.size = house, TokenSize(house.settings)
        self.chosen = self.replaced(with_built_in)
        self.uploaded = self.replaced(lambda visit, path: visit.with_file(Path(path)))
        self.pasted = self.replaced(Visit.with_text)
        self.cold = self.replaced(lambda visit, _: visit.cold())

    async def described(self, max_tokens: int | None, follow: bool, request: gr.Request) -> tuple[Any, str, str]:
        """The choice of documents, the text as it is sent, and its size, which needs an engine."""
        visit = self.house.desk(request.session_hash).visit
        facts = await visit.facts(Choices.of(max_tokens, None, None, cut=False, follow=follow))
        return choice(visit), excerpt(visit), described(facts, visit.nonce, await self.size.get())

    def replaced(self, change: Callable[[Visit, str], Visit]) -> Callable[..., Any]:
        """Stops the run and shows empty panes; a document that cannot be used, or is the same, leaves all as it was."""

        async def handler(value: str | None, request: gr.Request) -> tuple[Any, ...]:
            desk = self.house.desk(request.session_hash)
            screen, was = Screen(self.house.topology.engines, Link()), desk.visit
            try:
                visit = await asyncio.to_thread(change, was, value or "")  # a PDF takes up to a minute
            except ArenaError as exc:
                gr.Warning(escape(str(exc)), title="Document not used")
                visit = was
            if visit is was:  # Gradio's choice says so whenever it loses the focus
                return tuple(gr.skip() for _ in screen.whole(was))
            await desk.stop()
            desk.visit = visit
            return screen.whole(visit)

        return handler


def choice(visit: Visit) -> Any:
    """The built-in documents, none, and the visitor's own."""
    return gr.update(choices=list(dict.fromkeys([*TITLES, NO_DOCUMENT, visit.name])), value=visit.name)


def with_built_in(visit: Visit, name: str) -> Visit:
    """The one chosen already stays as warm as it is."""
    if name == visit.name:
        return visit
    if name == NO_DOCUMENT:
        return visit.without_document()
    if name not in TITLES:
        raise DocumentError(f"{name} is none of the page's documents: choose one of the list, or bring it again")
    return visit.reading(name, read_document(TITLES[name]))
