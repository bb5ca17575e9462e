"""The Race tab: the choice of engines, question and document, the panes, and the tours."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from frontend.app_state import AppState
from frontend.document_handlers import TITLES, DocumentHandlers, document_choices, with_built_in
from frontend.event_options import NO_PROGRESS, NO_PROGRESS_NO_API
from frontend.link import ShareLink
from frontend.model_info import model_note
from frontend.panes import pane_html
from frontend.question_options import HOTTEST, LAST_SEED, LONGEST_ANSWER, MAX_TOKENS
from frontend.race import Race
from frontend.race_handlers import RaceHandlers
from frontend.sanitize import escape_html
from frontend.sessions import TabSession
from frontend.tab_state import NO_DOCUMENT, TabState
from frontend.tour import FIRST

IN_TURN = "One after the other: the engines share {}, and would disturb each other's timings."
SIDE_BY_SIDE = "Each engine has a GPU of its own: those of (A) start together, then (B), who reads what (A) stored."
NO_RESTART = (
    "<b>A document, loaded after a restart</b> needs a page that may restart engines: one that "
    "<code>./arena up</code> starts, or with RESTART_COMMAND set."
)
# Set on an element that stays while its content is replaced: screen readers announce only those
IS_STATUS = 'element.setAttribute("role", "status");'
EDITS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-edit]");
  if (button) trigger("click", { number: Number(button.dataset.edit) });
});
"""


class RaceTab:
    """Lays out and wires the tab's components. `outputs` are in the order of `tab_view.Frame`."""

    def __init__(self, app: AppState) -> None:
        self.app, self.documents, self.handlers = app, DocumentHandlers(app), RaceHandlers(app)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                self._question()
            with gr.Column(scale=2, min_width=300, elem_id="about"):
                self._about()
        with gr.Row(equal_height=False, elem_id="panels"):
            with gr.Accordion("A document of your own", open=False, elem_id="document-panel"):
                self._own_document()
            with gr.Accordion("Pictures, sound, film", open=False, elem_id="media-panel"):
                self._media()
            with gr.Accordion("More", open=False, elem_id="more"):
                self._options()
        self._results()
        self._description = [self.options[0], self.follow], [self.document, self.text, self.size]  # inputs, outputs
        self.controls = [self.target, self.question, self.document, *self.options, self.cut, self.follow]
        self._wire_questions()
        self._wire_documents()

    def starts_cold(self, button: gr.Button) -> None:
        """Wires the button: a click gives the visitor's document a new nonce."""
        self.describes(button.click(self.documents.cold, self.document, self.outputs, **NO_PROGRESS_NO_API))

    def describes(self, event: Any) -> None:
        """Updates the document's description after this event."""
        event.then(self.documents.described, *self._description, **NO_PROGRESS_NO_API)

    def control_values(self, link: ShareLink, state: TabState) -> tuple[Any, ...]:
        """Returns the values of `controls` for a link."""
        target = link.target if link.target in {value for _, value in self.app.targets()} else "all"
        options = link.options
        sampling = options.max_tokens, options.temperature, options.seed
        return target, link.question or FIRST, document_choices(state), *sampling, options.cut, options.follow

    def restore(self, tab: TabSession, link: ShareLink) -> None:
        """Opens the document named in a link, if it is one of the page's own."""
        if link.document in (*TITLES, NO_DOCUMENT):
            tab.state = with_built_in(tab.state, link.document)
        elif link.document:
            gr.Info(escape(f"The link is about “{link.document}”: bring that document again."), title="Document")

    def _question(self) -> None:
        self.target = gr.Radio(self.app.targets(), value="all", label="Ask", elem_id="target")
        self.question = gr.Textbox(FIRST, label="Question", elem_id="question", lines=2, max_lines=8, autofocus=True)
        with gr.Row(elem_id="actions"):
            self.ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=120)
            self.stop = gr.Button("Stop", elem_id="stop", min_width=80)
            self.again = gr.Button("Regenerate", elem_id="again", min_width=110)
            self.new_chat = gr.Button("New chat", elem_id="fresh", min_width=100)
            self.cold = gr.Button("Start cold", elem_id="cold", min_width=100)
        offered = self.app.restart.command and not self.app.read_only_reason
        with gr.Row(elem_id="tours"):
            gr.HTML('<span class="quiet">Show me:</span>', elem_id="tours-label")
            self.demo_tour = gr.Button("▶ A document, computed and then loaded", elem_id="tour-demo", size="sm")
            self.media_tour = gr.Button("▶ A picture, computed and then loaded", elem_id="tour-media", size="sm")
            self.restart_tour = (
                gr.Button("▶ A document, loaded after a restart", elem_id="tour-volume", size="sm") if offered else None
            )
        if not offered:
            reason = escape_html(self.app.read_only_reason) or NO_RESTART
            gr.HTML(f'<p class="quiet">{reason}</p>', elem_id="no-restart")

    def _about(self) -> None:
        self.size = gr.HTML("", elem_id="facts")
        names = [*TITLES, NO_DOCUMENT]
        self.document = gr.Dropdown(names, value=names[0], label="Document", elem_id="document")
        gr.HTML(model_note(self.app.settings), elem_id="model")
        self.cut = gr.Checkbox(False, label="Cut to fit the model's context", elem_id="cut")

    def _own_document(self) -> None:
        self.upload = gr.File(label="Text, Markdown or PDF", elem_id="upload", height=150)
        self.pasted = gr.Textbox(label="Or paste text", lines=3, max_lines=6, elem_id="pasted")
        self.paste = gr.Button("Use the pasted text", size="sm", elem_id="paste")
        self.text = gr.Textbox(label="What is sent", lines=8, max_lines=8, interactive=False, elem_id="text")

    def _media(self) -> None:
        files = gr.File(
            label="Pictures, sound or film to ask about",
            file_count="multiple",
            file_types=["image", "audio", "video"],
            elem_id="files",
            height=150,
        )
        recorded = gr.Audio(label="Microphone", sources=["microphone"], type="filepath", elem_id="spoken")
        with gr.Row():
            photo = gr.Image(label="Camera", sources=["webcam"], type="filepath", elem_id="seen", height=180)
            film = gr.Video(
                label="Film",
                sources=["webcam"],
                webcam_options=gr.WebcamOptions(mirror=False),  # Gradio would need ffmpeg to mirror a film
                include_audio=True,  # and to remove its sound
                elem_id="filmed",
                height=180,
            )
        self.media = [files, recorded, photo, film]

    def _options(self) -> None:
        self.follow = gr.Checkbox(True, label="The conversation so far goes along", elem_id="follow")
        max_tokens = gr.Slider(
            1, LONGEST_ANSWER, MAX_TOKENS, step=1, label="Max tokens of an answer", elem_id="max-tokens"
        )
        temperature = gr.Slider(0, HOTTEST, 0, step=0.1, label="Temperature", elem_id="temperature")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LAST_SEED, elem_id="seed")
        self.options = (max_tokens, temperature, seed)

    def _results(self) -> None:
        engines = self.app.topology.engines
        race, shared = Race.of(engines), "a GPU" if self.app.settings.device == "cuda" else "this machine's cores"
        status = gr.HTML("", elem_id="stage", js_on_load=IS_STATUS)
        self.conversation = gr.HTML("", elem_id="conversation", js_on_load=EDITS)
        with gr.Row(elem_classes="panes", elem_id="panes"):
            panes = [gr.HTML(pane_html(race, engine), elem_id=f"pane-{engine.name}") for engine in engines]
        bars = gr.HTML("", elem_id="bars")
        order = SIDE_BY_SIDE if self.app.gpu_per_engine else IN_TURN.format(shared)
        gr.HTML(f'<p class="quiet">{order}</p>', elem_id="mode")
        self.outputs = [status, self.conversation, *panes, bars, gr.HTML("", elem_id="share")]

    def _wire_questions(self) -> None:
        does, outputs, (max_tokens, temperature, _) = self.handlers, self.outputs, self.options
        asked = [self.target, self.question, *self.options, self.cut, self.follow, *self.media]
        again = [self.target, max_tokens, temperature, self.cut, self.follow]
        self.describes(self.ask.click(does.ask, asked, outputs, api_name="ask", **NO_PROGRESS))
        self.describes(self.question.submit(does.ask, asked, outputs, **NO_PROGRESS_NO_API))
        self.describes(self.again.click(does.again, again, outputs, **NO_PROGRESS_NO_API))
        self.describes(self.demo_tour.click(does.demo_tour, None, outputs, **NO_PROGRESS_NO_API))
        self.describes(self.media_tour.click(does.media_tour, self.media, outputs, **NO_PROGRESS_NO_API))
        if self.restart_tour:
            self.describes(self.restart_tour.click(does.restart_tour, None, outputs, **NO_PROGRESS_NO_API))
        self.stop.click(does.stop, None, None, queue=False, **NO_PROGRESS)
        self.describes(self.new_chat.click(does.new_chat, None, outputs, **NO_PROGRESS_NO_API))
        self.describes(self.conversation.click(does.edit, None, [self.question, *outputs], **NO_PROGRESS_NO_API))

    def _wire_documents(self) -> None:
        does, document, outputs = self.documents, self.document, self.outputs
        self.describes(document.input(does.chosen, document, outputs, api_name="document", **NO_PROGRESS))
        self.describes(self.upload.upload(does.uploaded, self.upload, outputs, **NO_PROGRESS_NO_API))
        self.describes(self.paste.click(does.pasted, self.pasted, outputs, **NO_PROGRESS_NO_API))
        self.starts_cold(self.cold)
        for changed in (self.options[0].release, self.follow.input):
            changed(does.described, *self._description, **NO_PROGRESS_NO_API)
