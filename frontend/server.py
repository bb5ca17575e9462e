"""Serves the page: Gradio's settings, and who may reach it."""

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

SESSIONS = 200  # that Gradio remembers at most, a third of a MiB each
JOBS = 1000  # at once: each who waits in the line is one, and nobody's Stop or page may wait for theirs
UPLOAD_BYTES = 64 * 2**20  # or what media may have; documents have narrower limits of their own


def main() -> None:
    """On UI_PORT of BIND_HOST; asks nobody outside."""
    settings = caller_settings()
    try:
        lock, locked = MeasurementLock.of(os.environ), refusal(settings, os.environ)
        topology = Topology.of(settings)
        launch(
            build(
                AppState.of(topology, settings, gpu_per_engine=_pinned(settings), lock=lock, read_only_reason=locked)
            ),
            settings,
        )
    except ArenaError as exc:
        sys.exit(f"arena: {exc}")


def launch(page: gr.Blocks, settings: Settings, *, wait: bool = True) -> None:
    """Serves the page; with `wait`, until the process is told to stop. Raises ConfigError for half a login."""
    set_up_queue(page)
    page.launch(
        server_name=settings.bind_host,
        server_port=settings.ui_port,
        max_file_size=max(UPLOAD_BYTES, settings.media_max_mb * 2**20),
        max_threads=JOBS,
        state_session_capacity=SESSIONS,
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


def _pinned(settings: Settings) -> bool:
    """Whether each engine has a GPU of its own; GPUS lists them where Compose pins them."""
    cards = os.environ.get("GPUS", "").split()
    return settings.device == "cuda" and len(set(cards)) == len(Topology.of(settings).engines)
