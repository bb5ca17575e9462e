from frontend.app import build
from frontend.app_state import AppState
from frontend.document_info import document_html
from frontend.tab_state import DocumentSize


def test_the_page_has_its_tabs_and_offers_each_engine_and_both_pairs(topology, settings):
    page = build(AppState.of(topology, settings, gpu_per_engine=False))
    tabs = [block.label for block in page.blocks.values() if type(block).__name__ == "Tab"]
    assert tabs == ["Race", "History", "Stack", "Bench"]
    target = next(block for block in page.blocks.values() if block.elem_id == "target")
    assert [value for _, value in target.choices] == ["all", "lmcache", "plain", *(e.name for e in topology.engines)]


def test_a_document_that_does_not_fit_says_by_how_much():
    assert "1,000 tokens too many" in document_html(DocumentSize("a name", 9192, 8192), "n", None)
    assert "MiB of KV" in document_html(DocumentSize("a name", 4096, 8192), "n", 46_080)
    assert "not counted" in document_html(DocumentSize("<b>"), "n", None)
