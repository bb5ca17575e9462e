"""The race's tab: whom to ask what about which document, the panes, and the tours; player.py and reader.py do it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from frontend.app_state import AppState
from frontend.document_handlers import TITLES, DocumentHandlers, document_choices, with_built_in
from frontend.event_options import NO_PROGRESS, NO_PROGRESS_NO_API
from frontend.link import ShareLink
from frontend.model_info import model_note
from frontend.question_options import HOTTEST, LAST_SEED, LONGEST_ANSWER, MAX_TOKENS
from frontend.race_handlers import RaceHandlers
from frontend.sanitize import escape_html
from frontend.sessions import TabSession
from frontend.tab_state import NO_DOCUMENT, TabState
from frontend.tab_view import TabView
from frontend.tour import FIRST

IN_TURN = "One after the other: the engines share {}, and would measure each other."
BY_SIDE = "Each engine has a GPU of its own: those of (A) start together, then (B), who reads what (A) stored."
NO_RESTART = (
    "<b>A document, loaded after a restart</b> needs a page that may restart engines: one that "
    "<code>./arena up</code> starts, or with RESTART_COMMAND set."
)
KINDS_OF_FILE = ["image", "audio", "video"]


@dataclass(frozen=True)
class RaceTab:
    """The components that others fill."""

    house: AppState
    reader: DocumentHandlers
    controls: list[Any]  # in the order of `controls_of`
    sizes: list[Any]  # what the document's size depends on
    about: list[Any]  # the document: choice, text, size
    outputs: list[Any]  # as Screen has them

    def starts_cold(self, button: gr.Button) -> None:
        """A click on it makes the visitor's document one that no engine has seen."""
        self.describes(button.click(self.reader.cold, self.about[0], self.outputs, **NO_PROGRESS_NO_API))

    def describes(self, event: Any) -> None:
        """What is said of the document is said anew after this event."""
        event.then(self.reader.described, self.sizes, self.about, **NO_PROGRESS_NO_API)

    def controls_of(self, link: ShareLink, visit: TabState) -> tuple[Any, ...]:
        """Their values for a link."""
        choices = link.choices
        return (
            self.house.target_of(link),
            link.question or FIRST,
            document_choices(visit),
            choices.max_tokens,
            choices.temperature,
            choices.seed,
            choices.cut,
            choices.follow,
        )

    def restored(self, desk: TabSession, link: ShareLink) -> TabState:
        """With the document that a link names, where the page has it."""
        if link.document in (*TITLES, NO_DOCUMENT):
            desk.visit = with_built_in(desk.visit, link.document)
        elif link.document:
            gr.Info(escape(f"The link is about “{link.document}”: bring that document again."), title="Document")
        return desk.visit


def race_tab(house: AppState) -> RaceTab:
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
                demo_tour = gr.Button("▶ A document, computed and then loaded", elem_id="tour-demo", size="sm")
                media_tour = gr.Button("▶ A picture, computed and then loaded", elem_id="tour-media", size="sm")
                volume_tour = _volume_tour(house)
            if not volume_tour:
                gr.HTML(f'<p class="quiet">{escape_html(house.locked) or NO_RESTART}</p>', elem_id="no-restart")
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
                filmed = gr.Video(
                    label="Film",
                    sources=["webcam"],
                    webcam_options=gr.WebcamOptions(mirror=False),  # else Gradio asks for an ffmpeg to turn it,
                    include_audio=True,  # or to mute it
                    elem_id="filmed",
                    height=180,
                )
        with gr.Accordion("More", open=False, elem_id="more"):
            follow = gr.Checkbox(True, label="The conversation so far goes along", elem_id="follow")
            max_tokens = gr.Slider(
                1, LONGEST_ANSWER, MAX_TOKENS, step=1, label="Max tokens of an answer", elem_id="max-tokens"
            )
            temperature = gr.Slider(0, HOTTEST, 0, step=0.1, label="Temperature", elem_id="temperature")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LAST_SEED, elem_id="seed")
    stage = gr.HTML("", elem_id="stage", js_on_load=SAID)
    talk = gr.HTML("", elem_id="conversation", js_on_load=EDITS)
    first = TabView(house.topology.engines, ShareLink()).whole(TabState.begin(house.topology.engines, "", ""))
    with gr.Row(elem_classes="panes", elem_id="panes"):
        panes = [
            gr.HTML(html, elem_id=f"pane-{e.name}") for e, html in zip(house.topology.engines, first[2:], strict=False)
        ]
    bars = gr.HTML("", elem_id="bars")
    gr.HTML(f'<p class="quiet">{_order(house)}</p>', elem_id="mode")
    share = gr.HTML("", elem_id="share")

    outputs = [stage, talk, *panes, bars, share]
    controls = [target, question, document, max_tokens, temperature, seed, cut, follow]
    tab = RaceTab(house, DocumentHandlers(house), controls, [max_tokens, follow], [document, text, facts], outputs)
    _wire_documents(tab, document, upload, pasted, paste)
    tab.starts_cold(cold)

    player, media = RaceHandlers(house), [files, spoken, seen, filmed]
    asked = [target, question, max_tokens, temperature, seed, cut, follow, *media]
    runs: list[Any] = [ask.click(player.ask, asked, outputs, api_name="ask", **NO_PROGRESS)]
    runs.append(question.submit(player.ask, asked, outputs, **NO_PROGRESS_NO_API))
    runs.append(
        again.click(player.again, [target, max_tokens, temperature, cut, follow], outputs, **NO_PROGRESS_NO_API)
    )
    runs.append(demo_tour.click(player.demo, None, outputs, **NO_PROGRESS_NO_API))
    runs.append(media_tour.click(player.media, media, outputs, **NO_PROGRESS_NO_API))
    if volume_tour:
        runs.append(volume_tour.click(player.remember, None, outputs, **NO_PROGRESS_NO_API))
    for run in runs:
        tab.describes(run)
    stop.click(player.stop, None, None, queue=False, **NO_PROGRESS)
    tab.describes(fresh.click(player.fresh, None, outputs, **NO_PROGRESS_NO_API))
    tab.describes(talk.click(player.edit, None, [question, *outputs], **NO_PROGRESS_NO_API))
    for changed in (max_tokens.release, follow.input):
        changed(tab.reader.described, tab.sizes, tab.about, **NO_PROGRESS_NO_API)
    return tab


def _wire_documents(tab: RaceTab, document: gr.Dropdown, upload: gr.File, pasted: gr.Textbox, paste: gr.Button) -> None:
    reader = tab.reader
    tab.describes(document.input(reader.chosen, document, tab.outputs, api_name="document", **NO_PROGRESS))
    tab.describes(upload.upload(reader.uploaded, upload, tab.outputs, **NO_PROGRESS_NO_API))
    tab.describes(paste.click(reader.pasted, pasted, tab.outputs, **NO_PROGRESS_NO_API))


def _volume_tour(house: AppState) -> gr.Button | None:
    """Offered only where it can be played: it would wait for a restart that nobody makes, and others with it."""
    if not house.restart.command or house.locked:
        return None
    return gr.Button("▶ A document, loaded after a restart", elem_id="tour-volume", size="sm")


def _order(house: AppState) -> str:
    """Why engines are asked as they are."""
    if house.pinned:
        return BY_SIDE
    return IN_TURN.format("a GPU" if house.settings.device == "cuda" else "this machine's cores")


# On what stays while its content is exchanged, or screen readers say nothing
SAID = 'element.setAttribute("role", "status");'
EDITS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-edit]");
  if (button) trigger("click", { number: Number(button.dataset.edit) });
});
"""
