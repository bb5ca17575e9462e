"""The handlers that bring a document: chosen, uploaded, pasted or cold, and what is said of it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from anyio import to_thread

from client.documents import BUILT_IN, read_document
from config.errors import ArenaError, DocumentError
from frontend.app_state import AppState
from frontend.document_info import KvBytesPerToken, document_html, excerpt, uncounted_html
from frontend.link import ShareLink
from frontend.question_options import QuestionOptions
from frontend.sanitize import escape_html
from frontend.tab_state import NO_DOCUMENT, DocumentSize, TabState, title_of
from frontend.tab_view import TabView

TITLES = {title_of(path): path for path in BUILT_IN}
POLL_S = 1.0  # between two looks whether a measurement has ended
PDF_WITHIN = 1024  # bytes from a file's start, as PDF readers look for its mark
KEPT = 64  # counted documents

Change = Callable[[TabState, str], TabState]


class DocumentHandlers:
    """One for all visitors; each handler finds the tab's desk by its session."""

    def __init__(self, house: AppState) -> None:
        self.house, self.size, self._counted = house, KvBytesPerToken(house.settings), TokenCountCache()
        self.chosen = self.replaced(with_built_in)
        self.uploaded = self.replaced(lambda visit, path: visit.with_file(Path(path)))
        self.pasted = self.replaced(TabState.with_text)
        self.cold = self.replaced(lambda visit, _: visit.cold())

    async def described(
        self, max_tokens: int | None, follow: bool, request: gr.Request
    ) -> AsyncGenerator[tuple[Any, str, str]]:
        """The choice of documents, the text as it is sent, and its size.

        An engine counts it, which takes a core: while something is measured it is what was counted before, or comes
        when the measurement has ended.
        """
        choices = QuestionOptions.of(max_tokens, None, None, cut=False, follow=follow)
        visit, shown = self._visit(request), None
        while measured := self.house.track.measuring:
            if visit is not shown:
                yield document_choices(visit), excerpt(visit), await self._known(visit, choices, measured)
                shown = visit
            await asyncio.sleep(POLL_S)
            visit = self._visit(request)
        facts = await visit.facts(choices)
        self._counted.keep(visit, choices, facts)
        yield document_choices(visit), excerpt(visit), document_html(facts, visit.nonce, await self.size.get())

    async def _known(self, visit: TabState, choices: QuestionOptions, measured: str) -> str:
        known = self._counted.of(visit, choices)
        if known is None:
            return uncounted_html(visit.name, visit.nonce, measured)
        facts, age = known
        said = document_html(facts, visit.nonce, await self.size.get(look=False))
        return f'{said}<p class="quiet">Counted {age:.0f} s ago; {escape_html(measured)} is running.</p>'

    def _visit(self, request: gr.Request) -> TabState:
        return self.house.desk(request.session_hash).visit

    def replaced(self, change: Change) -> Callable[..., Any]:
        """Stops the run and shows empty panes; a document that cannot be used, or is the same, leaves all as it was."""

        async def handler(value: str | None, request: gr.Request) -> tuple[Any, ...]:
            desk = self.house.desk(request.session_hash)
            screen, was = TabView(self.house.topology.engines, ShareLink()), desk.visit
            try:
                visit = await self._changed(change, was, value or "")
            except ArenaError as exc:
                gr.Warning(escape(str(exc)), title="Document not used")
                visit = was
            desk = self.house.desk(request.session_hash)  # it may have been closed meanwhile
            if visit is was:  # Gradio's choice says so whenever it loses the focus
                return tuple(gr.skip() for _ in screen.whole(was))
            await desk.stop()
            desk.visit = visit
            self.house.reception.make_room(desk)
            return screen.whole(visit)

        return handler

    async def _changed(self, change: Change, visit: TabState, value: str) -> TabState:
        """A PDF takes a core for up to a minute: one at a time, in the line in which questions wait."""
        if not await to_thread.run_sync(is_pdf, value):
            return await asyncio.to_thread(change, visit, value)
        if measured := self.house.track.measuring:
            gr.Info(f"The PDF is read when {escape(measured)} has ended.", title="Waiting")
        async with self.house.track.turn(lambda *_: None, "a PDF that the page reads"):
            return await to_thread.run_sync(change, visit, value)  # not given up before its end


class TokenCountCache:
    """What documents were counted as, with when: the latest of all visitors."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._facts = OrderedDict[int, tuple[DocumentSize, float]]()

    def keep(self, visit: TabState, choices: QuestionOptions, facts: DocumentSize) -> None:
        if facts.tokens is not None:
            key = _key(visit, choices)
            self._facts[key] = facts, self._clock()
            self._facts.move_to_end(key)
            if len(self._facts) > KEPT:
                self._facts.popitem(last=False)

    def of(self, visit: TabState, choices: QuestionOptions) -> tuple[DocumentSize, float] | None:
        """With its age in seconds; None for what was never counted."""
        facts, at = self._facts.get(_key(visit, choices), (None, 0.0))
        return (facts, self._clock() - at) if facts else None


def _key(visit: TabState, choices: QuestionOptions) -> int:
    turns = tuple((turn.question, turn.answer) for turn in visit.conversation) if choices.follow else ()
    return hash((visit.name, visit.document, visit.sent, turns, choices.max_tokens))


def is_pdf(path: str) -> bool:
    """By its first bytes; pasted words, names of documents and what cannot be read are none."""
    try:
        with Path(path).open("rb") as file:
            return b"%PDF-" in file.read(PDF_WITHIN)
    except (OSError, ValueError):
        return False


def document_choices(visit: TabState) -> Any:
    """The built-in documents, none, and the visitor's own."""
    return gr.update(choices=list(dict.fromkeys([*TITLES, NO_DOCUMENT, visit.name])), value=visit.name)


def with_built_in(visit: TabState, name: str) -> TabState:
    """The one chosen already stays as warm as it is."""
    if name == visit.name:
        return visit
    if name == NO_DOCUMENT:
        return visit.without_document()
    if name not in TITLES:
        raise DocumentError(f"{name} is none of the page's documents: choose one of the list, or bring it again")
    return visit.reading(name, read_document(TITLES[name]))
