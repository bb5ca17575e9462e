"""The handlers that ask: questions, tours, Stop and what is done to a conversation."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import wraps
from html import escape
from typing import Any

import gradio as gr

from config.errors import ArenaError, DocumentError
from config.topology import Engine
from frontend.app_state import AppState
from frontend.link import ShareLink
from frontend.question_options import QuestionOptions, checked_question
from frontend.race import ask_groups
from frontend.sessions import StateStream, TabSession
from frontend.tab_state import NO_DOCUMENT, TabState
from frontend.tab_view import TabView
from frontend.tour import ALONE, FIRST, LOOK, LOOK_AGAIN, demo_steps, play_steps, restart_steps
from frontend.uploads import check_uploads, load_uploads
from media import SAMPLES
from media.limits import Limits

SAMPLE = SAMPLES / "image.png"

Frame = tuple[Any, ...]  # one value for each output of the screen
PlannedRun = tuple[StateStream, ShareLink]  # what is to be played, and the link that restores it
Files = list[str] | None

log = logging.getLogger(__name__)


def streams_frames(prepare: Callable[..., Awaitable[PlannedRun]]) -> Callable[..., AsyncGenerator[Frame]]:
    """A handler of Gradio's that prepares a run before it stands in the line, then shows it frame by frame."""

    @wraps(prepare)
    async def handler(self: RaceHandlers, *given: Any) -> AsyncGenerator[Frame]:
        desk = self.desk(given[-1])
        try:
            script, link = await prepare(self, *given)
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not asked")
            yield tuple(gr.skip() for _ in self.screen().whole(desk.visit))
            return
        async with aclosing(self.frames(desk, script, link)) as frames:
            async for frame in frames:
                yield frame

    return handler


class RaceHandlers:
    """One for all visitors; each handler finds the tab's desk by its session, which comes last."""

    def __init__(self, house: AppState) -> None:
        self.house, self.limits = house, Limits.of(house.settings)

    @streams_frames
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
        spoken: str | None,
        seen: str | None,
        filmed: str | None,
        request: gr.Request,
    ) -> PlannedRun:
        """One question to the chosen engines."""
        words, chosen = checked_question(question), self._heats(target)
        choices = QuestionOptions.of(max_tokens, temperature, seed, cut, follow)
        given = check_uploads([*(files or []), spoken, seen, filmed], self.limits)

        async def script(visit: TabState) -> AsyncGenerator[TabState]:
            media = await load_uploads(given, self.limits)
            had = visit.media if follow else ()
            self.limits.check_prompt(list(dict.fromkeys((*had, *media))))
            asked = replace(visit, caption="").asking(chosen, words, choices, media, self.house.ask)
            async with aclosing(asked) as visits:
                async for visit in visits:
                    yield visit

        return script, ShareLink(words, target, self.desk(request).visit.name, choices)

    @streams_frames
    async def again(
        self,
        target: str,
        max_tokens: int | None,
        temperature: float | None,
        cut: bool,
        follow: bool,
        request: gr.Request,
    ) -> PlannedRun:
        """The last question and its media once more; with a temperature, as another draw."""
        visit = self.desk(request).visit
        last, chosen = visit.race.prompt, self._heats(target)
        if last is None:
            raise DocumentError("there is no question yet: ask one first")
        choices = QuestionOptions.of(max_tokens, temperature, last.seed + bool(temperature), cut, follow)
        choices = replace(choices, document=bool(last.document))
        link = ShareLink(last.question, target, visit.name, choices)
        return (
            lambda visit: replace(visit, caption="").asking(
                chosen, last.question, choices, last.media, self.house.ask, again=True
            ),
            link,
        )

    @streams_frames
    async def demo(self, request: gr.Request) -> PlannedRun:
        """The seeds' story."""
        link = ShareLink(FIRST, document=self.desk(request).visit.name, choices=ALONE)
        return lambda visit: play_steps(visit, self.house.topology, demo_steps(), ask=self.house.ask), link

    @streams_frames
    async def media(
        self, files: Files, spoken: str | None, seen: str | None, filmed: str | None, _request: gr.Request
    ) -> PlannedRun:
        """The same for media: the visitor's, or else the project's sample picture."""
        given = check_uploads([*(files or []), spoken, seen, filmed], self.limits) or (SAMPLE,)
        steps = demo_steps(LOOK, LOOK_AGAIN, given[0].name)

        async def script(visit: TabState) -> AsyncGenerator[TabState]:
            media = await load_uploads(given, self.limits)
            async with aclosing(play_steps(visit, self.house.topology, steps, media, self.house.ask)) as visits:
                async for visit in visits:
                    yield visit

        return script, ShareLink(LOOK, document=NO_DOCUMENT, choices=ALONE)

    @streams_frames
    async def remember(self, request: gr.Request) -> PlannedRun:
        """A restart, and what the volume still has."""
        self.house.must_be_open()
        link = ShareLink(FIRST, "lmcache-a", self.desk(request).visit.name, ALONE)
        return lambda visit: restart_steps(visit, self.house.topology, self.house.restart, self.house.ask), link

    async def stop(self, request: gr.Request) -> None:
        """The run's own generator then shows what it has."""
        await self.desk(request).stop()

    async def fresh(self, request: gr.Request) -> Frame:
        """The same document, and no conversation."""
        return await self._changed(request, TabState.afresh)

    async def edit(self, event: gr.EventData, request: gr.Request) -> Frame:
        """A question of the conversation back into the box; it and what came after it away."""
        question = ""

        def change(visit: TabState) -> TabState:
            nonlocal question
            visit, question = visit.edited(int(event.number))
            return visit

        frame = await self._changed(request, change)
        return question or gr.skip(), *frame

    async def frames(self, desk: TabSession, script: StateStream, link: ShareLink) -> AsyncGenerator[Frame]:
        """What changed, frame by frame, and all of it at the end; an error as a warning."""
        screen = self.screen(link)
        try:
            async with aclosing(desk.play(self.house.track, script)) as visits:
                async for visit in visits:
                    yield screen.frame(visit)
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not asked")
        except Exception:  # a visitor can do nothing about it, and must not wait for a clock that runs on
            log.exception("a run failed")
            gr.Warning("the page failed, and its log says why: ask again", title="Not answered")
        self.house.reception.make_room(desk)
        yield screen.whole(desk.visit)

    def screen(self, link: ShareLink | None = None) -> TabView:
        """With nothing sent yet."""
        return TabView(self.house.topology.engines, link or ShareLink())

    def desk(self, request: gr.Request) -> TabSession:
        """The tab's."""
        return self.house.desk(request.session_hash)

    async def _changed(self, request: gr.Request, change: Callable[[TabState], TabState]) -> Frame:
        """Stops the run first, which would overwrite the change."""
        desk = self.desk(request)
        await desk.stop()
        desk.visit = change(desk.visit)
        return self.screen().whole(desk.visit)

    def _heats(self, target: str) -> tuple[tuple[Engine, ...], ...]:
        return ask_groups(self.house.engines_of(target), pinned=self.house.pinned)
