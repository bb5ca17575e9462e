"""The page's layout and wiring: Gradio only. What happens is in visitor.py and race.py, how it looks in view.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engines.errors import ArenaError
from engines.topology import Topology
from frontend.race import heats
from frontend.view import board, title
from frontend.visitor import Visit

EVERYONE = "everyone"
FIRST = "What's FFMPEG (answer in 10 words)"
SECOND = "New question: just give me a ffmpeg command line example without any explanation"
STEPS = (("plain-a", FIRST), ("plain-b", SECOND), ("lmcache-a", FIRST), ("lmcache-b", SECOND))
ABOUT = """# TTFT Arena
The same question about the same long document, to any of these vLLM engines or to all. The two with LMCache share one
KV volume: what (A) has read, (B) loads instead of computing it again. **TTFT** counts from just before the request is
sent to the first text. """
IN_TURN = "The engines are asked one after the other, because here they share this machine's cores."
BY_SIDE = "Each engine has a GPU of its own: those of (A) start together, then those of (B), who reads what (A) stored."

Play = Callable[[str, str, bool, Visit], AsyncGenerator[tuple[Visit, str]]]


def build(topology: Topology, *, pinned: bool = False) -> gr.Blocks:
    """The page for these engines, `pinned` to a GPU each or not; nothing is asked before a visitor does."""
    engines = topology.engines
    choices = [(title(engine), engine.name) for engine in engines] + [("Race them all", EVERYONE)]
    start = Visit.of_the_handbook(engines)
    page = gr.Blocks(title="TTFT Arena", fill_width=True, analytics_enabled=False)
    with page:
        visit = gr.State(start.cold)
        gr.Markdown(ABOUT + (BY_SIDE if pinned else IN_TURN))
        with gr.Row():
            with gr.Column(scale=3):
                target = gr.Radio(choices, value=EVERYONE, label="Engine", elem_id="target")
                question = gr.Textbox(FIRST, label="Question", elem_id="question", lines=2)
                with gr.Row():
                    ask = gr.Button("Ask", variant="primary", elem_id="ask")
                    stop = gr.Button("Stop", elem_id="stop")
                    cold = gr.Button("Start cold", elem_id="cold")
                gr.Markdown("**The demo in four clicks:** what (A) reads first, (B) is asked about next.")
                with gr.Row():
                    steps = [
                        _step(number, *step, topology) for number, step in enumerate(STEPS, 1) if _has(topology, step)
                    ]
                panes = gr.HTML(board(start.race, engines), elem_id="board")
            with gr.Column(scale=2):
                facts = gr.Markdown("", elem_id="facts")
                cut = gr.Checkbox(False, label="Cut the document to fit the model", elem_id="cut")
                upload = gr.File(label="Another document: text or Markdown, up to 2 MiB", elem_id="upload", height=160)
                shown = gr.Textbox(
                    start.document, label="Context", lines=28, max_lines=28, interactive=False, elem_id="document"
                )

        play = _player(topology, pinned)
        # one visitor at a time: two on the same cores would measure each other; the rest see their place in the queue
        queue: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "engines", "show_progress": "minimal"}
        inputs, outputs = [target, question, cut, visit], [visit, panes]
        runs: list[Any] = [trigger(play, inputs, outputs, **queue) for trigger in (ask.click, question.submit)]
        for button, step in steps:
            chosen = button.click(lambda step=step: step, None, [target, question], show_progress="hidden")
            runs.append(chosen.then(play, inputs, outputs, **queue))
        stop.click(_shown(Visit.stopped), visit, outputs, cancels=runs)
        afterwards = [
            cold.click(_shown(Visit.cold), visit, outputs, cancels=runs),
            upload.upload(_replaced, [upload, visit], [visit, shown, panes], cancels=runs),
            upload.clear(lambda: _replaced(None, start), None, [visit, shown, panes], cancels=runs),
        ]
        for changed in afterwards:
            changed.then(Visit.facts, visit, facts)
        page.load(Visit.facts, visit, facts)
    return page


def _has(topology: Topology, step: tuple[str, str]) -> bool:
    return any(engine.name == step[0] for engine in topology.engines)


def _step(number: int, name: str, text: str, topology: Topology) -> tuple[gr.Button, tuple[str, str]]:
    label = f"{number}. Ask {title(topology.engine(name))}"
    return gr.Button(label, size="sm", elem_id=f"step-{number}"), (name, text)


def _player(topology: Topology, pinned: bool) -> Play:
    async def play(choice: str, question: str, cut: bool, visit: Visit) -> AsyncGenerator[tuple[Visit, str]]:
        chosen = topology.engines if choice == EVERYONE else (topology.engine(choice),)
        try:
            async with aclosing(visit.asking(heats(chosen, pinned=pinned), question, cut=cut)) as visits:
                async for now in visits:
                    yield now, board(now.race, now.engines)
        except ArenaError as exc:
            gr.Warning(escape(str(exc)), title="Not asked")

    return play


def _shown(change: Callable[[Visit], Visit]) -> Callable[[Visit], tuple[Visit, str]]:
    def changed(visit: Visit) -> tuple[Visit, str]:
        now = change(visit)
        return now, board(now.race, now.engines)

    return changed


def _replaced(path: str | None, visit: Visit) -> tuple[Visit, str, str]:
    """No path: back to the handbook."""
    try:
        visit = visit.with_file(Path(path)) if path else visit.cold()
    except ArenaError as exc:
        gr.Warning(escape(str(exc)), title="Document not used")
    return visit, visit.document, board(visit.race, visit.engines)
