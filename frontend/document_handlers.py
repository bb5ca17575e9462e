"""Handlers that set the document (chosen, uploaded, pasted, or the same with a new nonce) and describe it."""

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
from frontend.question_options import QuestionOptions
from frontend.sanitize import escape_html
from frontend.tab_state import NO_DOCUMENT, DocumentSize, TabState, title_of
from frontend.tab_view import Frame, TabView, unchanged

TITLES = {title_of(path): path for path in BUILT_IN}
POLL_S = 1.0  # between two checks of whether a measurement has ended
PDF_WITHIN = 1024  # bytes from the start of a file in which PDF readers look for its magic number
MAX_COUNTED = 64  # token counts that are kept

Change = Callable[[TabState, str], TabState]


class DocumentHandlers:
    """One instance serves all visitors; each handler finds the tab by the request's session hash."""

    def __init__(self, app: AppState) -> None:
        self.app, self._kv_bytes, self._counted = app, KvBytesPerToken(app.settings), TokenCountCache()
        self.chosen = self.replaces(with_built_in)
        self.uploaded = self.replaces(lambda state, path: state.with_file(Path(path)))
        self.pasted = self.replaces(TabState.with_text)
        self.cold = self.replaces(lambda state, _: state.with_new_nonce())

    async def described(
        self, max_tokens: int | None, follow: bool, request: gr.Request
    ) -> AsyncGenerator[tuple[Any, str, str]]:
        """Yields the choice of documents, the text that is sent, and its size.

        An engine counts the tokens, which uses a core. During a measurement the last known count is shown, if there is
        one; the tokens are counted once the measurement has ended.
        """
        options = QuestionOptions.of(max_tokens, None, None, cut=False, follow=follow)
        state, shown = self.app.session(request.session_hash).state, None
        while measured := self.app.queue.current:
            if state is not shown:
                yield document_choices(state), excerpt(state), await self._size_before(state, options, measured)
                shown = state
            await asyncio.sleep(POLL_S)
            state = self.app.session(request.session_hash).state
        size = await state.document_size(options)
        self._counted.keep(state, options, size)
        yield document_choices(state), excerpt(state), await self._html(size, state, look=True)

    async def _size_before(self, state: TabState, options: QuestionOptions, measured: str) -> str:
        if (known := self._counted.get(state, options)) is None:
            return uncounted_html(state.name, state.nonce, measured)
        size, age_s = known
        html = await self._html(size, state, look=False)
        return f'{html}<p class="quiet">Counted {age_s:.0f} s ago; {escape_html(measured)} is running.</p>'

    async def _html(self, size: DocumentSize, state: TabState, *, look: bool) -> str:
        per_token = await self._kv_bytes.get(look=look)
        return document_html(size, state.nonce, per_token, self.app.settings.chunk_size)

    def replaces(self, change: Change) -> Callable[..., Any]:
        """Returns a handler that stops the run, replaces the document and shows empty panes. Nothing changes if the
        document cannot be used or is the same."""

        async def handler(value: str | None, request: gr.Request) -> Frame:
            before = self.app.session(request.session_hash).state
            try:
                state = await self._changed(change, before, value or "")
            except ArenaError as exc:
                gr.Warning(escape(str(exc)), title="Document not used")
                state = before
            tab = self.app.session(request.session_hash)  # raises if it has been closed in the meantime
            if state is before:  # Gradio's dropdown also fires `input` when it loses focus
                return unchanged(state)
            await tab.stop()
            tab.state = state
            self.app.sessions.enforce_budget(tab)
            return TabView().all_html(state)

        return handler

    async def _changed(self, change: Change, state: TabState, value: str) -> TabState:
        """Applies the change. Reading a PDF uses a core for up to a minute, so it waits in the measurement queue."""
        if not await to_thread.run_sync(is_pdf, value):
            return await asyncio.to_thread(change, state, value)
        if measured := self.app.queue.current:
            gr.Info(f"The PDF is read when {escape(measured)} has ended.", title="Waiting")
        async with self.app.queue.wait_turn(lambda *_: None, "a PDF that the page reads"):
            return await to_thread.run_sync(change, state, value)  # runs to its end, even if this task is cancelled


class TokenCountCache:
    """The most recent token counts of all visitors' documents, and when they were made."""

    def __init__(self) -> None:
        self._sizes = OrderedDict[int, tuple[DocumentSize, float]]()

    def keep(self, state: TabState, options: QuestionOptions, size: DocumentSize) -> None:
        if size.tokens is not None:
            key = _key(state, options)
            self._sizes[key] = size, time.monotonic()
            self._sizes.move_to_end(key)
            if len(self._sizes) > MAX_COUNTED:
                self._sizes.popitem(last=False)

    def get(self, state: TabState, options: QuestionOptions) -> tuple[DocumentSize, float] | None:
        """Returns the size and its age in seconds, or None if it is not in the cache."""
        size, at = self._sizes.get(_key(state, options), (None, 0.0))
        return (size, time.monotonic() - at) if size else None


def _key(state: TabState, options: QuestionOptions) -> int:
    turns = tuple((turn.question, turn.answer) for turn in state.conversation) if options.follow else ()
    return hash((state.name, state.document, state.sent_document, turns, options.max_tokens))


def is_pdf(path: str) -> bool:
    """Checks the first bytes of a file. False for pasted text, a document's name, or a file that cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return b"%PDF-" in file.read(PDF_WITHIN)
    except (OSError, ValueError):
        return False


def document_choices(state: TabState) -> Any:
    """Returns the dropdown's update: the built-in documents, «No document», and the visitor's own."""
    return gr.update(choices=list(dict.fromkeys([*TITLES, NO_DOCUMENT, state.name])), value=state.name)


def with_built_in(state: TabState, name: str) -> TabState:
    """Returns the state with this document; choosing the same one keeps its nonce. Raises DocumentError if unknown."""
    if name == state.name:
        return state
    if name == NO_DOCUMENT:
        return state.without_document()
    if name not in TITLES:
        raise DocumentError(f"{name} is none of the page's documents: choose one of the list, or bring it again")
    return state.with_document(name, read_document(TITLES[name]))
