"""The page as it is built and served, and what it needs of Gradio's inside."""

import time

import pytest
from gradio_client import Client

from frontend.app import build
from frontend.app_state import AppState
from frontend.document_info import document_html
from frontend.gradio_internals import QUEUE
from frontend.server import launch
from frontend.tab_state import DocumentSize
from launch.ports import is_free


@pytest.fixture
def page(topology, settings):
    return build(AppState.of(topology, settings, gpu_per_engine=False))


@pytest.fixture
def served(page, settings, monkeypatch):
    """The page's address. A client that leaves is missed at its next heartbeat."""
    monkeypatch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.1")
    port = next(number for number in range(7940, 7960) if is_free(number))
    launch(page, settings.model_copy(update={"ui_port": port}), wait=False)
    yield f"http://127.0.0.1:{port}"
    page.close(verbose=False)


def test_the_page_has_its_tabs_and_offers_each_engine_and_both_pairs(page, topology):
    tabs = [block.label for block in page.blocks.values() if type(block).__name__ == "Tab"]
    assert tabs == ["Race", "History", "Stack", "Bench"]
    target = next(block for block in page.blocks.values() if block.elem_id == "target")
    assert [value for _, value in target.choices] == ["all", "lmcache", "plain", *(e.name for e in topology.engines)]


def test_gradio_has_the_private_attributes_that_the_page_sets(page):
    found = {name: type(getattr(page.queue()._queue, name, None)) for name in QUEUE}
    assert found == {name: type(value) for name, value in QUEUE.items()}


@pytest.mark.usefixtures("served")
def test_visitors_in_the_line_leave_jobs_to_the_others(page):
    assert {name: getattr(page._queue, name) for name in QUEUE} == QUEUE
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


def test_a_document_that_does_not_fit_says_by_how_much():
    assert "1,000 tokens too many" in document_html(DocumentSize("a name", 9192, 8192), "n", None, 256)
    assert "MiB of KV" in document_html(DocumentSize("a name", 4096, 8192), "n", 46_080, 256)
    assert "not counted" in document_html(DocumentSize("<b>"), "n", None, 256)
