"""Serves the page: Gradio's settings, the login and the allowed hosts."""

from __future__ import annotations

import os
import sys

import gradio as gr
from starlette.middleware import Middleware

from client.measurement_lock import MeasurementLock
from config.errors import ArenaError
from config.exit_codes import caller_settings
from config.settings import Settings
from config.topology import Topology
from frontend.app import build
from frontend.app_state import AppState
from frontend.gradio_internals import set_up_queue
from frontend.known_hosts import AllowedHosts, HostCheckMiddleware
from frontend.login import login, refusal
from frontend.theme import head_html, page_css, theme

MAX_SESSIONS = 200  # kept by Gradio, a third of a MiB each
MAX_THREADS = 1000  # each waiting visitor uses one, and must not delay others
UPLOAD_BYTES = 64 * 2**20  # or the media limit, if larger; documents have lower limits of their own


def main() -> None:
    """Serves the page on BIND_HOST:UI_PORT; contacts no host outside the stack."""
    settings = caller_settings()
    try:
        topology, cards = Topology.of(settings), os.environ.get("GPUS", "").split()  # set by Compose: a card per engine
        app = AppState.of(
            topology,
            settings,
            gpu_per_engine=settings.device == "cuda" and len(set(cards)) == len(topology.engines),
            lock=MeasurementLock.of(os.environ),
            read_only_reason=refusal(settings, os.environ),
        )
        launch(build(app), settings)
    except ArenaError as exc:
        sys.exit(f"arena: {exc}")


def launch(page: gr.Blocks, settings: Settings, *, wait: bool = True) -> None:
    """Serves the page; with `wait`, until the process ends. Raises ConfigError if only half of a login is set."""
    set_up_queue(page)
    page.launch(
        server_name=settings.bind_host,
        server_port=settings.ui_port,
        max_file_size=max(UPLOAD_BYTES, settings.media_max_mb * 2**20),
        max_threads=MAX_THREADS,
        state_session_capacity=MAX_SESSIONS,
        auth=login(settings),
        app_kwargs={"middleware": [Middleware(HostCheckMiddleware, hosts=AllowedHosts.of(settings))]},
        auth_message="TTFT Arena",
        theme=theme(),
        css=page_css(),
        head=head_html(),
        footer_links=[],
        quiet=True,
        share=False,
        ssr_mode=False,
        prevent_thread_lock=not wait,
    )
