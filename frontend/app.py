"""The page: its tabs, and what happens when a visitor opens or closes it."""

from __future__ import annotations

import gradio as gr

from frontend.app_state import AppState
from frontend.bench_tab import bench_tab
from frontend.event_options import NO_PROGRESS_NO_API
from frontend.gradio_internals import forget_session
from frontend.history_tab import history_tab
from frontend.link import ShareLink
from frontend.race_tab import RaceTab
from frontend.stack_tab import stack_tab
from frontend.tab_view import TabView
from frontend.theme import HEAD

DELETE_UPLOADS = (3600, 24 * 3600)  # every hour, delete uploads older than a day


def build(app: AppState) -> gr.Blocks:
    """Returns the page. No engine is asked until a visitor opens it."""
    page = gr.Blocks(title="TTFT Arena", fill_width=True, analytics_enabled=False, delete_cache=DELETE_UPLOADS)
    with page:
        gr.HTML(HEAD, elem_id="head")
        token = gr.Textbox(visible=False)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Race", id="race"):
                race = RaceTab(app)
            with gr.Tab("History", id="history") as tab:
                history_tab(app, tab)
            with gr.Tab("Stack", id="stack") as tab:
                race.starts_cold(stack_tab(app, tabs, tab))
            with gr.Tab("Bench", id="bench") as tab:
                bench_tab(app, tabs, tab)
        _wire_visits(page, app, race, token)
    return page


def _wire_visits(page: gr.Blocks, app: AppState, race: RaceTab, token: gr.Textbox) -> None:
    async def opened(token: str, request: gr.Request) -> tuple[object, ...]:
        tab = app.sessions.attach_visitor(str(request.session_hash), token[:64])
        link = ShareLink.read(dict(request.query_params))
        race.restore(tab, link)
        return *race.control_values(link, tab.state), *TabView().all_html(tab.state)

    async def closed(request: gr.Request) -> None:
        session = str(request.session_hash)
        await app.sessions.close(session)
        forget_session(page, session)

    outputs, visitor = [*race.controls, *race.outputs], "() => [window.arena.visitor()]"
    race.describes(page.load(opened, token, outputs, js=visitor, **NO_PROGRESS_NO_API))
    page.unload(closed)
