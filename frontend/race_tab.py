"""The race's tab: whom to ask what about which document, the panes, and the tours."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engines.document import BUILT_IN, read_document
from engines.errors import ArenaError
from engines.media.limits import Limits
from frontend.context import described, excerpt, kv_bytes_per_token
from frontend.desk import Desk, Script
from frontend.given_media import media_of
from frontend.house import House
from frontend.link import Link
from frontend.model_note import model_note
from frontend.race import heats
from frontend.screen import Screen
from frontend.tour import FIRST, LOOK, LOOK_AGAIN, demo, play, remember
from frontend.visitor import MAX_TOKENS, NO_DOCUMENT, Choices, Visit, title_of

SAMPLE = str(BUILT_IN[0].parent.parent / "samples" / "image.png")
TITLES = {title_of(path): path for path in BUILT_IN}
IN_TURN = "One after the other: the engines share this machine's cores, and would measure each other."
BY_SIDE = "Each engine has a GPU of its own: those of (A) start together, then (B), who reads what (A) stored."
KINDS_OF_FILE = ["image", "audio", "video"]
HIDDEN: Any = {"show_progress": "hidden"}
PRIVATE: Any = {**HIDDEN, "api_visibility": "private"}
AT_ONCE: Any = {**HIDDEN, "concurrency_limit": None}  # who may measure is decided by the track


@dataclass(frozen=True)
class RaceTab:
    """The components that others fill."""

    house: House
    controls: list[Any]  # target, question, document, text of it, max tokens, temperature, seed
    facts: gr.HTML
    outputs: list[Any]  # as Screen has them

    def starts_cold(self, button: gr.Button) -> None:
        """A click on it makes the visitor's document one that no engine has seen."""
        about = [*self.controls[2:4], self.facts, *self.outputs]
        cold = _Player(self.house).replaced(lambda visit, _: visit.cold())
        button.click(cold, self.controls[2], about, **PRIVATE)

    def controls_of(self, link: Link, visit: Visit) -> tuple[Any, ...]:
        """Their values for a link."""
        choices = list(dict.fromkeys([*TITLES, NO_DOCUMENT, visit.name]))
        return (
            self.house.target_of(link),
            link.question or FIRST,
            gr.update(choices=choices, value=visit.name),
            excerpt(visit),
            link.max_tokens,
            link.temperature,
            link.seed,
        )

    async def restored(self, desk: Desk, link: Link) -> Visit:
        """With the document that a link names, where the page has it."""
        if link.document in TITLES:
            desk.visit = _with_built_in(desk.visit, link.document)
        elif link.document == NO_DOCUMENT:
            desk.visit = desk.visit.without_document()
        elif link.document:
            gr.Info(escape(f"The link is about “{link.document}”: bring that document again."), title="Document")
        return desk.visit

    async def described(self, visit: Visit) -> str:
        """The document's size, as HTML."""
        return described(await visit.facts(), visit.nonce, kv_bytes_per_token(self.house.settings))


def race_tab(house: House) -> RaceTab:
    """Laid out and wired."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            target = gr.Radio(house.targets(), value="all", label="Ask", elem_id="target")
            question = gr.Textbox(FIRST, label="Question", elem_id="question", lines=2, max_lines=8, autofocus=True)
            with gr.Row(elem_id="actions"):
                ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=120)
                stop = gr.Button("Stop", elem_id="stop", min_width=80)
                again = gr.Button("Regenerate", elem_id="again", min_width=110)
                fresh = gr.Button("New chat", elem_id="fresh", min_width=100)
                cold = gr.Button("Start cold", elem_id="cold", min_width=100)
            with gr.Row(elem_id="tours"):
                gr.HTML('<span class="quiet">Show me:</span>', elem_id="tours-label")
                demo_tour = gr.Button("▶ One reads, the other knows", elem_id="tour-demo", size="sm", min_width=170)
                media_tour = gr.Button("▶ The same for a picture", elem_id="tour-media", size="sm", min_width=150)
                volume_tour = gr.Button("▶ The volume remembers", elem_id="tour-volume", size="sm", min_width=150)
        with gr.Column(scale=2, min_width=300, elem_id="about"):
            facts = gr.HTML("", elem_id="facts")
            document = gr.Dropdown(
                [*TITLES, NO_DOCUMENT], value=next(iter(TITLES)), label="Document", elem_id="document"
            )
            gr.HTML(model_note(house.settings), elem_id="model")
            cut = gr.Checkbox(False, label="Cut to fit the model's context", elem_id="cut")
    with gr.Row(equal_height=False, elem_id="panels"):
        with gr.Accordion("A document of your own", open=False, elem_id="document-panel"):
            upload = gr.File(label="Text, Markdown or PDF", elem_id="upload", height=150)
            pasted = gr.Textbox(label="Or paste text", lines=3, max_lines=6, elem_id="pasted")
            paste = gr.Button("Use the pasted text", size="sm", elem_id="paste")
            text = gr.Textbox(label="What is sent", lines=8, max_lines=8, interactive=False, elem_id="text")
        with gr.Accordion("Pictures, sound, film", open=False, elem_id="media-panel"):
            files = gr.File(
                label="Pictures, sound or film to ask about",
                file_count="multiple",
                file_types=KINDS_OF_FILE,
                elem_id="files",
                height=150,
            )
            spoken = gr.Audio(label="Microphone", sources=["microphone"], type="filepath", elem_id="spoken")
            with gr.Row():
                seen = gr.Image(label="Camera", sources=["webcam"], type="filepath", elem_id="seen", height=180)
                filmed = gr.Video(label="Film", sources=["webcam"], elem_id="filmed", height=180)
        with gr.Accordion("More", open=False, elem_id="more"):
            follow = gr.Checkbox(True, label="The conversation so far goes along", elem_id="follow")
            max_tokens = gr.Slider(1, 1024, MAX_TOKENS, step=1, label="Max tokens of an answer", elem_id="max-tokens")
            temperature = gr.Slider(0, 2, 0, step=0.1, label="Temperature", elem_id="temperature")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
    stage = gr.HTML("", elem_id="stage", js_on_load=SAID)
    talk = gr.HTML("", elem_id="conversation", js_on_load=EDITS)
    start = Visit.of_the_handbook(house.topology.engines)
    first = Screen(house.topology.engines, Link()).whole(start)
    with gr.Row(elem_classes="panes", elem_id="panes"):
        panes = [
            gr.HTML(html, elem_id=f"pane-{e.name}") for e, html in zip(house.topology.engines, first[2:], strict=False)
        ]
    bars = gr.HTML("", elem_id="bars")
    gr.HTML(f'<p class="quiet">{BY_SIDE if house.pinned else IN_TURN}</p>', elem_id="mode")
    share = gr.HTML("", elem_id="share")

    outputs = [stage, talk, *panes, bars, share]
    controls = [target, question, document, text, max_tokens, temperature, seed]
    tab = RaceTab(house, controls, facts, outputs)
    media = [files, spoken, seen, filmed]
    asked = [target, question, max_tokens, temperature, seed, cut, follow, *media]
    player = _Player(house)
    runs: list[Any] = [ask.click(player.ask, asked, outputs, api_name="ask", **AT_ONCE)]
    runs.append(question.submit(player.ask, asked, outputs, api_visibility="private", **AT_ONCE))
    runs.append(
        again.click(
            player.again, [target, max_tokens, temperature, cut, follow], outputs, api_visibility="private", **AT_ONCE
        )
    )
    for button, tour, given in (
        (demo_tour, player.demo, []),
        (media_tour, player.media, media),
        (volume_tour, player.remember, []),
    ):
        runs.append(button.click(tour, given, outputs, api_visibility="private", **AT_ONCE))
    for run in runs:
        run.then(player.described, None, [document, text, facts], **PRIVATE)
    stop.click(player.stop, None, None, **AT_ONCE)
    fresh.click(player.changed(Visit.afresh), None, outputs, **PRIVATE)
    talk.click(player.edit, None, [question, *outputs], **PRIVATE)
    about = [document, text, facts, *outputs]
    tab.starts_cold(cold)
    document.input(player.replaced(_with_built_in), document, about, api_name="document", **HIDDEN)
    upload.upload(player.replaced(lambda visit, path: visit.with_file(Path(path))), upload, about, **PRIVATE)
    paste.click(player.replaced(Visit.with_text), pasted, about, **PRIVATE)
    return tab


# On what stays while its content is exchanged, or screen readers say nothing
SAID = 'element.setAttribute("role", "status");'
EDITS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-edit]");
  if (button) trigger("click", { number: Number(button.dataset.edit) });
});
"""


class _Player:
    """The handlers: each finds the tab's desk by its session."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def ask(
        self,
        target: str,
        question: str,
        max_tokens: int,
        temperature: float,
        seed: int,
        cut: bool,
        follow: bool,
        files: list[str] | None,
        spoken: str | None,
        seen: str | None,
        filmed: str | None,
        request: gr.Request,
    ) -> AsyncGenerator[tuple[Any, ...]]:
        """One question to the chosen engines."""
        desk = self._desk(request)
        link = Link(question, target, desk.visit.name, int(max_tokens), float(temperature), int(seed))
        choices = Choices(int(max_tokens), float(temperature), int(seed), cut, follow)

        async def script(visit: Visit) -> AsyncGenerator[Visit]:
            media = await media_of([*(files or []), spoken, seen, filmed], Limits.of(self.house.settings))
            chosen = heats(self.house.engines_of(target), pinned=self.house.pinned)
            async with aclosing(replace(visit, caption="").asking(chosen, question, choices, media)) as visits:
                async for now in visits:
                    yield now

        async with aclosing(self._frames(desk, script, link)) as frames:
            async for frame in frames:
                yield frame

    async def again(
        self, target: str, max_tokens: int, temperature: float, cut: bool, follow: bool, request: gr.Request
    ) -> AsyncGenerator[tuple[Any, ...]]:
        """The last question and its media once more; with a temperature, as another draw."""
        desk = self._desk(request)
        last = desk.visit.race.prompt
        if last is None:
            gr.Warning("ask something first", title="Not asked")
            return
        seed = last.seed + 1 if temperature else last.seed
        choices = Choices(int(max_tokens), float(temperature), seed, cut, follow)

        async def script(visit: Visit) -> AsyncGenerator[Visit]:
            chosen = heats(self.house.engines_of(target), pinned=self.house.pinned)
            again = replace(visit, caption="").asking(chosen, last.question, choices, last.media)
            async with aclosing(again) as visits:
                async for now in visits:
                    yield now

        link = Link(last.question, target, desk.visit.name, int(max_tokens), float(temperature), seed)
        async with aclosing(self._frames(desk, script, link)) as frames:
            async for frame in frames:
                yield frame

    async def demo(self, request: gr.Request) -> AsyncGenerator[tuple[Any, ...]]:
        """The seeds' story."""
        script: Script = lambda visit: play(visit, self.house.topology, demo())  # noqa: E731
        async with aclosing(self._frames(self._desk(request), script, Link(FIRST))) as frames:
            async for frame in frames:
                yield frame

    async def media(
        self, files: list[str] | None, spoken: str | None, seen: str | None, filmed: str | None, request: gr.Request
    ) -> AsyncGenerator[tuple[Any, ...]]:
        """The same for media: the visitor's, or else the project's sample picture."""

        async def script(visit: Visit) -> AsyncGenerator[Visit]:
            given = [path for path in (*(files or []), spoken, seen, filmed) if path]
            media = await media_of(given or [SAMPLE], Limits.of(self.house.settings))
            steps = demo(LOOK, LOOK_AGAIN, media[0].name)
            async with aclosing(play(visit.without_document(), self.house.topology, steps, media)) as visits:
                async for now in visits:
                    yield now

        async with aclosing(self._frames(self._desk(request), script, Link(LOOK))) as frames:
            async for frame in frames:
                yield frame

    async def remember(self, request: gr.Request) -> AsyncGenerator[tuple[Any, ...]]:
        """A restart, and what the volume still has."""
        script: Script = lambda visit: remember(visit, self.house.topology, self.house.restart)  # noqa: E731
        async with aclosing(self._frames(self._desk(request), script, Link(FIRST, "lmcache-a"))) as frames:
            async for frame in frames:
                yield frame

    async def stop(self, request: gr.Request) -> None:
        """The run's own generator then shows what it has."""
        await self._desk(request).stop()

    async def described(self, request: gr.Request) -> tuple[Any, str, str]:
        """The document, and its size, which needs an engine."""
        return await self._about(self._desk(request).visit)

    async def _about(self, visit: Visit) -> tuple[Any, str, str]:
        choices = list(dict.fromkeys([*TITLES, NO_DOCUMENT, visit.name]))
        facts = described(await visit.facts(), visit.nonce, kv_bytes_per_token(self.house.settings))
        return gr.update(choices=choices, value=visit.name), excerpt(visit), facts

    async def edit(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """A question of the conversation back into the box, and what came after it away."""
        desk = self._desk(request)
        desk.visit, question = desk.visit.edited(int(event.number))
        return question or gr.skip(), *Screen(self.house.topology.engines, Link()).whole(desk.visit)

    def changed(self, change: Callable[[Visit], Visit]) -> Callable[..., Any]:
        """A handler that stops the run and changes the visit."""

        async def handler(request: gr.Request) -> tuple[Any, ...]:
            desk = self._desk(request)
            await desk.stop()
            desk.visit = change(desk.visit)
            return Screen(self.house.topology.engines, Link()).whole(desk.visit)

        return handler

    def replaced(self, change: Callable[[Visit, str], Visit]) -> Callable[..., Any]:
        """The same for another document, or another nonce; one that cannot be used leaves all as it was."""

        async def handler(value: str | None, request: gr.Request) -> tuple[Any, ...]:
            desk = self._desk(request)
            await desk.stop()
            try:
                desk.visit = change(desk.visit, value or "")
            except ArenaError as exc:
                gr.Warning(escape(str(exc)), title="Document not used")
            frame = Screen(self.house.topology.engines, Link()).whole(desk.visit)
            return *await self._about(desk.visit), *frame

        return handler

    async def _frames(self, desk: Desk, script: Script, link: Link) -> AsyncGenerator[tuple[Any, ...]]:
        """What changed, frame by frame, and all of it at the end; an error of ours as a warning."""
        screen = Screen(self.house.topology.engines, link)
        try:
            async with aclosing(desk.play(self.house.track, script)) as visits:
                async for visit in visits:
                    yield screen.frame(visit)
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not asked")
        yield screen.whole(desk.visit)

    def _desk(self, request: gr.Request) -> Desk:
        return self.house.reception.desk(str(request.session_hash))


def _with_built_in(visit: Visit, name: str) -> Visit:
    """The one chosen already stays as warm as it is."""
    if name == visit.name:
        return visit
    if name == NO_DOCUMENT:
        return visit.without_document()
    return Visit.begin(visit.engines, name, read_document(TITLES[name]))
