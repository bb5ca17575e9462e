"""Handlers for questions, tours, Stop, and changes to the conversation.

A request passes through four layers: `client.transport.stream_chat` reads the engine's stream, `client.ask.ask` times
it, `race.ask_all` turns the results into panes; a handler below runs as the tab's task, waits in the measurement queue
and then asks. Meanwhile `shows_run` streams the panes to the browser.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from config.errors import ArenaError, DocumentError
from frontend.app_state import AppState
from frontend.link import ShareLink
from frontend.question_options import QuestionOptions, checked_question
from frontend.sessions import TabSession
from frontend.tab_state import NO_DOCUMENT, TabState
from frontend.tab_view import Frame, TabView, unchanged
from frontend.tour import ALONE, FIRST, LOOK, LOOK_AGAIN, demo_steps, play_steps, restart_steps
from frontend.uploads import check_uploads, load_uploads
from media import SAMPLES
from media.limits import Limits

SAMPLE = SAMPLES / "image.png"

Files = list[str] | None

log = logging.getLogger(__name__)


def shows_run(handle: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., AsyncGenerator[Frame]]:
    """Runs a handler as the tab's task and yields what changes, then the whole final state; errors become warnings."""

    @wraps(handle)
    async def handler(self: RaceHandlers, *given: Any) -> AsyncGenerator[Frame]:
        tab, view = self.tab(given[-1]), TabView()
        before = tab.state
        try:
            async with aclosing(tab.run(handle(self, *given))) as states:
                async for state in states:
                    yield view.changed_html(state)
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not asked")
        except Exception:  # a bug, not the visitor's fault: stop the pane's timer and say so
            log.exception("a run failed")
            gr.Warning("the page failed, and its log says why: ask again", title="Not answered")
        self.app.sessions.enforce_budget(tab)
        yield unchanged(before) if tab.state is before else view.all_html(tab.state)

    return handler


class RaceHandlers:
    """One instance serves all visitors. Gradio passes the request last; its session hash identifies the tab."""

    def __init__(self, app: AppState) -> None:
        self.app, self.limits = app, Limits.of(app.settings)

    @shows_run
    async def ask(
        self,
        target: str,
        question: str,
        max_tokens: int | None,
        temperature: float | None,
        seed: int | None,
        cut: bool,
        follow: bool,
        files: Files,
        recorded: str | None,
        photo: str | None,
        film: str | None,
        request: gr.Request,
    ) -> None:
        """Asks the chosen engines one question. An invalid question is refused before it waits in the queue."""
        tab, groups, question = self.tab(request), self.app.groups_of(target), checked_question(question)
        options = QuestionOptions.of(max_tokens, temperature, seed, cut, follow)
        paths = check_uploads([*(files or []), recorded, photo, film], self.limits)
        async with tab.turn(ShareLink(question, target, tab.state.name, options)):
            media = await load_uploads(paths, self.limits)
            self.limits.check_prompt(list(dict.fromkeys((*(tab.state.media if follow else ()), *media))))
            await tab.ask(groups, question, options, media)

    @shows_run
    async def again(
        self,
        target: str,
        max_tokens: int | None,
        temperature: float | None,
        cut: bool,
        follow: bool,
        request: gr.Request,
    ) -> None:
        """Asks the last question again, with its media; if the temperature is not 0, with the next seed."""
        tab, groups = self.tab(request), self.app.groups_of(target)
        if (last := tab.state.race.prompt) is None:
            raise DocumentError("there is no question yet: ask one first")
        options = QuestionOptions.of(max_tokens, temperature, last.seed + bool(temperature), cut, follow)
        options = replace(options, document=bool(last.document))
        async with tab.turn(ShareLink(last.question, target, tab.state.name, options)):
            await tab.ask(groups, last.question, options, last.media, again=True)

    @shows_run
    async def demo_tour(self, request: gr.Request) -> None:
        """Plays the tour «A document, computed and then loaded»."""
        tab = self.tab(request)
        async with tab.turn(ShareLink(FIRST, document=tab.state.name, options=ALONE)):
            await play_steps(tab, self.app.topology, demo_steps())

    @shows_run
    async def media_tour(
        self, files: Files, recorded: str | None, photo: str | None, film: str | None, request: gr.Request
    ) -> None:
        """Plays the same tour with the visitor's media, or with the sample picture if there are none."""
        tab = self.tab(request)
        paths = check_uploads([*(files or []), recorded, photo, film], self.limits) or (SAMPLE,)
        async with tab.turn(ShareLink(LOOK, document=NO_DOCUMENT, options=ALONE)):
            media = await load_uploads(paths, self.limits)
            await play_steps(tab, self.app.topology, demo_steps(LOOK, LOOK_AGAIN, paths[0].name), media)

    @shows_run
    async def restart_tour(self, request: gr.Request) -> None:
        """Plays the tour «A document, loaded after a restart»."""
        tab = self.tab(request)
        self.app.check_not_read_only()
        async with tab.turn(ShareLink(FIRST, "lmcache-a", tab.state.name, ALONE)):
            await restart_steps(tab, self.app.topology, self.app.restart)

    async def stop(self, request: gr.Request) -> None:
        """Stops the run; its own handler then shows the final state."""
        await self.tab(request).stop()

    async def new_chat(self, request: gr.Request) -> Frame:
        """Keeps the document and clears the conversation."""
        return await self._change(request, TabState.without_turns)

    async def edit(self, event: gr.EventData, request: gr.Request) -> Frame:
        """Puts a question back into the text box, and removes it and all later turns from the conversation."""
        question = ""

        def change(state: TabState) -> TabState:
            nonlocal question
            state, question = state.edited(int(event.number))
            return state

        frame = await self._change(request, change)
        return question or gr.skip(), *frame

    def tab(self, request: gr.Request) -> TabSession:
        return self.app.session(request.session_hash)

    async def _change(self, request: gr.Request, change: Callable[[TabState], TabState]) -> Frame:
        """Stops the run, because it would overwrite the change, and applies the change."""
        tab = self.tab(request)
        await tab.stop()
        tab.state = change(tab.state)
        return TabView().all_html(tab.state)
