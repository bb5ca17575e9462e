"""The page: its head, its tabs, and who comes and goes. What each tab does stands in a file of its own."""

from __future__ import annotations

import gradio as gr

from frontend.app_state import AppState
from frontend.bench_tab import bench_tab
from frontend.event_options import NO_PROGRESS_NO_API
from frontend.gradio_internals import forget_session
from frontend.history_tab import history_tab
from frontend.link import ShareLink
from frontend.race_tab import RaceTab, race_tab
from frontend.stack_tab import stack_tab
from frontend.tab_view import TabView
from frontend.theme import HEAD

KEPT_FILES = (3600, 24 * 3600)  # uploads: looked through every hour, deleted after a day


def build(house: AppState) -> gr.Blocks:
    """The page; nothing is asked before a visitor does."""
    page = gr.Blocks(title="TTFT Arena", fill_width=True, analytics_enabled=False, delete_cache=KEPT_FILES)
    with page:
        gr.HTML(HEAD, elem_id="head")
        token = gr.Textbox(visible=False)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Race", id="race"):
                race = race_tab(house)
            with gr.Tab("History", id="history") as tab:
                history_tab(house, tab)
            with gr.Tab("Stack", id="stack") as tab:
                race.starts_cold(stack_tab(house, tabs, tab))
            with gr.Tab("Bench", id="bench") as tab:
                bench_tab(house, tabs, tab)
        _arrivals(page, house, race, token)
    return page


def _arrivals(page: gr.Blocks, house: AppState, race: RaceTab, token: gr.Textbox) -> None:
    async def greet(token: str, request: gr.Request) -> tuple[object, ...]:
        desk = house.reception.greet(str(request.session_hash), token[:64])
        link = ShareLink.read(dict(request.query_params))
        visit = race.restored(desk, link)
        return *race.controls_of(link, visit), *TabView(house.topology.engines, link).whole(visit)

    async def leave(request: gr.Request) -> None:
        session = str(request.session_hash)
        await house.reception.leave(session)
        forget_session(page, session)

    outputs, visitor = [*race.controls, *race.outputs], "() => [window.arena.visitor()]"
    race.describes(page.load(greet, token, outputs, js=visitor, **NO_PROGRESS_NO_API))
    page.unload(leave)
