"""One session for each open tab, and one history for each visitor, which survives a reload.

Tabs are not kept in `gr.State`: Gradio keeps a closed tab's data for an hour, and drops sessions without calling
`delete_callback`, so a visitor could get answers about the wrong document and memory would be unbounded. Histories are
not kept in `gr.BrowserState`: if a reload stops a question, its row is written after the browser has disconnected.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from client.documents import BUILT_IN, read_document
from config.errors import ArenaError, StackError
from frontend.history import History
from frontend.link import ShareLink
from frontend.measurement_queue import MeasurementQueue
from frontend.question_options import DEFAULT_OPTIONS, QuestionOptions
from frontend.race import AskAll, Groups, Pane, ask_all
from frontend.tab_state import TabState, fit_prompt
from media import Media

FRAME_S = 0.03  # between two frames of a tab: more would not show text sooner, but would slow the engines
KEPT_S = 3600  # how long a history is kept after its last tab was closed
MAX_TABS, MAX_VISITORS = 500, 500  # the least recently used are dropped
MAX_CLOSED = 100_000  # closed sessions that are remembered
HELD_BYTES = 512 * 2**20  # for all visitors' documents and media: a quarter of the memory of the page's container
CLOSED = "the connection to this tab was lost, and with it the document: reload the page"
DROPPED = "more visitors came than the page has room for, and this tab's document was dropped: reload the page"
FAILED = "the page failed; its log says why"

BUILT_IN_TEXTS = frozenset(read_document(path) for path in BUILT_IN)  # shared by all visitors


@dataclass(eq=False)
class Visitor:
    """One browser, identified by a random token that it stores."""

    history: History = field(default_factory=History)
    closed_at: float = 0.0  # when its last tab was closed, on a monotonic clock


class TabSession:
    """One tab: its state, and at most one run, which is a task so that Stop can end it at once."""

    def __init__(self, state: TabState, queue: MeasurementQueue, ask: AskAll = ask_all) -> None:
        self.state, self.visitor = state, Visitor()
        self._queue, self._ask_all = queue, ask
        self._run: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        return self._run is not None

    async def run(self, work: Coroutine[Any, Any, None]) -> AsyncGenerator[TabState]:
        """Runs `work` and yields each changed state, at most one every FRAME_S seconds, and always the final state.

        Raises what `work` raises, and StackError if this tab's last run is still in progress. Closing the generator
        stops the run and frees the engine.
        """
        if self._run:
            work.close()
            raise StackError("this tab's last question is still being answered: wait, or press Stop")
        self._changed, shown = asyncio.Event(), self.state
        run = self._run = asyncio.create_task(work)
        run.add_done_callback(lambda _: self._changed.set())
        try:
            while not run.done():
                await self._changed.wait()
                self._changed.clear()
                if self.state is not shown:
                    yield (shown := self.state)
                    await asyncio.sleep(FRAME_S)
            if not run.cancelled():
                run.result()
        finally:
            await self.stop()
            self._run = None
        yield self.state

    def cancel(self) -> None:
        """Cancels the run, but only once: a second cancellation would interrupt the closing of its requests."""
        if self._run and not self._run.cancelling():
            self._run.cancel()

    async def stop(self) -> None:
        """Ends the run, if there is one; returns once its requests are closed.

        Gradio's `cancels=` would end the generator only at its next yield, up to a minute later for a slow prompt.
        """
        self.cancel()
        if self._run:
            await asyncio.wait({self._run})

    @asynccontextmanager
    async def turn(self, link: ShareLink) -> AsyncGenerator[None]:
        """Waits in the queue and shows how many visitors are ahead. Only this tab measures inside the context.

        `link` is the share link for this question. However the turn ends, no pane is left showing as running. Raises
        StackError while one of the page's benchmarks is running.
        """
        try:
            async with self._queue.wait_turn(self._show_position):
                self.show(replace(self.state, visitors_ahead=0, measured_elsewhere="", caption="", link=link))
                yield
        except asyncio.CancelledError:
            self.show(self.state.stopped())
            raise
        except Exception as exc:
            self.show(self.state.failed(str(exc) if isinstance(exc, ArenaError) else FAILED))
            raise

    async def ask(
        self,
        groups: Groups,
        question: str,
        options: QuestionOptions = DEFAULT_OPTIONS,
        media: Sequence[Media] = (),
        *,
        again: bool = False,
    ) -> None:
        """Asks group by group; returns when all panes have ended. If the prompt cannot be sent or is too long, raises
        DocumentError before any request."""
        engines = [engine for group in groups for engine in group]
        prompt = self.state.next_prompt(engines, question, options, media, again=again)
        prompt = await fit_prompt(engines, prompt, cut=options.cut)
        self.show(self.state.with_prompt(prompt, engines))
        await self._ask_all(groups, prompt, self._show_pane)

    def show(self, state: TabState) -> None:
        """Sets the tab's state. A pane that has ended becomes a row of the history."""
        old, self.state = self.state.race.panes, state
        for name, pane in state.race.panes.items():
            if old[name].at_work and not pane.at_work and pane.prompt:
                self.visitor.history.add(pane, state.context(pane.prompt))
        self._changed.set()

    @property
    def held_bytes(self) -> int:
        """The bytes in memory of the tab's documents and media, each counted once."""
        state = self.state
        asked = [pane.prompt for pane in state.race.panes.values() if pane.prompt]
        media = {*state.media, *(each for prompt in asked for each in prompt.media)}
        documents = {state.document, *(prompt.document for prompt in asked)} - BUILT_IN_TEXTS
        return sum(len(each.base64) for each in media) + sum(map(len, documents))

    def _show_pane(self, pane: Pane) -> None:
        self.show(replace(self.state, race=self.state.race.with_pane(pane)))

    def _show_position(self, ahead: int, elsewhere: str) -> None:
        if (ahead, elsewhere) != (self.state.visitors_ahead, self.state.measured_elsewhere):
            self.show(replace(self.state, visitors_ahead=ahead, measured_elsewhere=elsewhere))


class SessionStore:
    """All tabs, by Gradio's session hash, and all visitors, by their token."""

    def __init__(
        self,
        start: TabState,
        queue: MeasurementQueue,
        ask: AskAll = ask_all,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_tabs: int = MAX_TABS,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self._start, self._queue, self._ask_all, self._clock = start, queue, ask, clock
        self._max_tabs, self._max_bytes = max_tabs, held_bytes
        self._sessions = OrderedDict[str, TabSession]()  # least recently used first
        self._closed = OrderedDict[str, str]()  # session key -> why it was closed
        self._stopping = set[TabSession]()  # removed tabs, while their runs still write rows
        self._visitors = OrderedDict[str, Visitor]()

    def session(self, key: str) -> TabSession:
        """Returns the tab's session, creating it on first use; its history is private until `attach_visitor`.

        Raises StackError if the tab was closed or dropped: its document is gone, though the visitor may still see it.
        """
        if why := self._closed.get(key):
            raise StackError(why)
        if key not in self._sessions:
            if len(self._sessions) >= self._max_tabs:
                idle = (key for key, tab in self._sessions.items() if not tab.busy)
                self._remove(next(idle, next(iter(self._sessions))), DROPPED).cancel()
            self._sessions[key] = TabSession(self._start.with_new_nonce(), self._queue, self._ask_all)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def attach_visitor(self, key: str, token: str) -> TabSession:
        """Gives the tab the visitor's history, which is shared by their other tabs and survives a reload."""
        self._expire()
        tab = self.session(key)
        if token and tab.visitor is not (visitor := self._visitor(token)):
            visitor.history.take(tab.visitor.history)
            tab.visitor = visitor
        return tab

    async def close(self, key: str) -> None:
        """Closes the tab: stops its run, which frees the engine."""
        if key in self._sessions:
            await self._remove(key, CLOSED).stop()
        self._expire()

    def enforce_budget(self, keep: TabSession) -> None:
        """Drops tabs, except `keep`, until their size is within budget: idle and least recently used ones first."""
        held = {key: tab.held_bytes for key, tab in self._sessions.items()}
        over = sum(held.values()) - self._max_bytes
        for key in sorted(held, key=lambda key: self._sessions[key].busy):  # idle ones first
            if over > 0 and held[key] and self._sessions[key] is not keep:
                self._remove(key, DROPPED).cancel()
                over -= held[key]

    def _visitor(self, token: str) -> Visitor:
        if token not in self._visitors and len(self._visitors) >= MAX_VISITORS:
            present = self._present()
            gone = (token for token, visitor in self._visitors.items() if visitor not in present)
            del self._visitors[next(gone, next(iter(self._visitors)))]
        self._visitors.setdefault(token, Visitor())
        self._visitors.move_to_end(token)
        return self._visitors[token]

    def _present(self) -> set[Visitor]:
        """Returns the visitors that have an open tab, or a closed one whose run has not ended yet."""
        self._stopping = {tab for tab in self._stopping if tab.busy}
        return {tab.visitor for tab in (*self._sessions.values(), *self._stopping)}

    def _remove(self, key: str, why: str) -> TabSession:
        self._closed[key] = why
        if len(self._closed) > MAX_CLOSED:
            self._closed.popitem(last=False)
        self._stopping.add(tab := self._sessions.pop(key))
        tab.visitor.closed_at = self._clock()
        return tab

    def _expire(self) -> None:
        """Deletes histories without an open tab that are empty or whose last tab was closed over KEPT_S ago."""
        present, oldest = self._present(), self._clock() - KEPT_S
        for token, visitor in list(self._visitors.items()):
            if visitor not in present and (not visitor.history.rows or visitor.closed_at < oldest):
                del self._visitors[token]
