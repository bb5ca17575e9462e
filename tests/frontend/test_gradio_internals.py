"""What of Gradio is private and the page needs all the same: an upgrade that takes it away fails here first."""

import time

import pytest
from gradio_client import Client

from frontend.app import build
from frontend.app_state import AppState
from frontend.gradio_internals import QUEUE, set_up_queue
from frontend.server import launch
from launch.ports import is_free


@pytest.fixture
def page(topology, settings):
    return build(AppState.of(topology, settings, gpu_per_engine=False))


def test_the_queue_has_the_settings_that_are_changed(page):
    queue = page._queue
    assert {name: type(getattr(queue, name, None)) for name in QUEUE} == {n: type(value) for n, value in QUEUE.items()}
    set_up_queue(page)
    assert {name: getattr(page._queue, name) for name in QUEUE} == QUEUE


@pytest.fixture
def served(page, settings, monkeypatch):
    """The page's address. A client that leaves is missed at its next heartbeat."""
    monkeypatch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.1")
    port = next(number for number in range(7940, 7960) if is_free(number))
    launch(page, settings.model_copy(update={"ui_port": port}), wait=False)
    yield f"http://127.0.0.1:{port}"
    page.close(verbose=False)


@pytest.mark.usefixtures("served")
def test_visitors_in_the_line_leave_jobs_to_the_others(page):
    assert page._queue.max_thread_count > 200
    limits = {fn.concurrency_limit for fn in page.fns.values() if fn.queue}
    assert (limits, page._queue.default_concurrency_limit) == ({"default"}, None)


def test_of_a_visitor_who_left_gradio_keeps_nothing_either(page, served):
    client = Client(served, verbose=False)
    client.predict("No document", api_name="/document")
    kept = page.state_holder.session_data
    assert list(kept) == [client.session_hash]
    client.close()
    deadline = time.monotonic() + 10
    while kept and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(kept) == []
