"""The handlers that ask: questions, tours, Stop, and what changes a conversation.

A request passes four layers: `client.transport.stream_chat` reads the engine's stream, `client.ask.ask` times it,
`race.ask_all` makes panes of it, and a handler below, which is the tab's task, waits in the line and asks. Beside it
`shows_run` sends the panes to the browser.
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
    """Runs a handler as its tab's task and yields what has changed, in the end everything; errors become warnings."""

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
        except Exception:  # a visitor cannot do anything about it, and must not wait for a clock that runs on
            log.exception("a run failed")
            gr.Warning("the page failed, and its log says why: ask again", title="Not answered")
        self.app.sessions.enforce_budget(tab)
        yield unchanged(before) if tab.state is before else view.all_html(tab.state)

    return handler


class RaceHandlers:
    """One for all visitors. Gradio passes the request last; its session hash names the tab."""

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
        """One question to the chosen engines. What cannot be asked is refused before it waits in the line."""
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
        """The last question and its media once more; with a temperature, as another draw."""
        tab, groups = self.tab(request), self.app.groups_of(target)
        if (last := tab.state.race.prompt) is None:
            raise DocumentError("there is no question yet: ask one first")
        options = QuestionOptions.of(max_tokens, temperature, last.seed + bool(temperature), cut, follow)
        options = replace(options, document=bool(last.document))
        async with tab.turn(ShareLink(last.question, target, tab.state.name, options)):
            await tab.ask(groups, last.question, options, last.media, again=True)

    @shows_run
    async def demo_tour(self, request: gr.Request) -> None:
        """A document, computed and then loaded."""
        tab = self.tab(request)
        async with tab.turn(ShareLink(FIRST, document=tab.state.name, options=ALONE)):
            await play_steps(tab, self.app.topology, demo_steps())

    @shows_run
    async def media_tour(
        self, files: Files, recorded: str | None, photo: str | None, film: str | None, request: gr.Request
    ) -> None:
        """The same for media: the visitor's, or else the project's sample picture."""
        tab = self.tab(request)
        paths = check_uploads([*(files or []), recorded, photo, film], self.limits) or (SAMPLE,)
        async with tab.turn(ShareLink(LOOK, document=NO_DOCUMENT, options=ALONE)):
            media = await load_uploads(paths, self.limits)
            await play_steps(tab, self.app.topology, demo_steps(LOOK, LOOK_AGAIN, paths[0].name), media)

    @shows_run
    async def restart_tour(self, request: gr.Request) -> None:
        """A document, loaded after a restart."""
        tab = self.tab(request)
        self.app.check_not_read_only()
        async with tab.turn(ShareLink(FIRST, "lmcache-a", tab.state.name, ALONE)):
            await restart_steps(tab, self.app.topology, self.app.restart)

    async def stop(self, request: gr.Request) -> None:
        """The run's own handler then shows what there is."""
        await self.tab(request).stop()

    async def new_chat(self, request: gr.Request) -> Frame:
        """The same document, and no conversation."""
        return await self._change(request, TabState.without_turns)

    async def edit(self, event: gr.EventData, request: gr.Request) -> Frame:
        """A question goes back into the box; it and what came after it leave the conversation."""
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
        """Stops the run first, which would overwrite the change."""
        tab = self.tab(request)
        await tab.stop()
        tab.state = change(tab.state)
        return TabView().all_html(tab.state)
