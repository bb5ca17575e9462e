"""The page as it is built, and what it needs of Gradio's inside."""

from types import SimpleNamespace

from frontend.app import build
from frontend.app_state import AppState
from frontend.document_info import document_html
from frontend.gradio_internals import QUEUE, forget_session
from frontend.tab_state import DocumentSize


def test_the_page_has_its_tabs_and_offers_each_engine_and_both_pairs(topology, settings):
    page = build(AppState.of(topology, settings, pinned=False))
    tabs = [block.label for block in page.blocks.values() if type(block).__name__ == "Tab"]
    assert tabs == ["Race", "History", "Stack", "Bench"]
    target = next(block for block in page.blocks.values() if block.elem_id == "target")
    assert [value for _, value in target.choices] == ["all", "lmcache", "plain", *(e.name for e in topology.engines)]


def test_gradio_has_the_private_attributes_that_the_page_sets(topology, settings):
    page = build(AppState.of(topology, settings, pinned=False)).queue()
    found = {name: type(getattr(page._queue, name, None)) for name in QUEUE}
    assert found == {name: type(value) for name, value in QUEUE.items()}
    page.state_holder.session_data["tab"] = SimpleNamespace()
    forget_session(page, "tab")
    assert "tab" not in page.state_holder.session_data


def test_a_document_that_does_not_fit_says_by_how_much():
    assert "1,000 tokens too many" in document_html(DocumentSize("a name", 9192, 8192), "n", None)
    assert "MiB of KV" in document_html(DocumentSize("a name", 4096, 8192), "n", 46_080)
    assert "not counted" in document_html(DocumentSize("<b>"), "n", None)
