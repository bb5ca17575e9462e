import math
import re
from base64 import b64decode
from functools import cache
from html.parser import HTMLParser

import pytest
from bench_results import HOSTILE, NAMES, a_result, an_interval, everywhere, golden, on_a_terminal

from bench.report.conclusion import conclusion, cost, headline, reasons
from bench.report.html_page import html_report
from bench.report.labels import counted_sentence, invalid_reasons
from bench.report.markdown import escape, markdown_report
from bench.report.number_format import digits, duration, ratio, sentence, unit_for
from bench.report.plots import plots
from bench.report.render import render_reports
from bench.result import Result
from config.errors import ConfigError

FAULT = "1280 tokens came from the cache server's memory, so it had read them before"
BROKEN = {
    **{f"samples.0.{name}": None for name in ("ttft_ms", "tpot_ms", "mean_itl_ms", "e2el_ms", "cached_tokens", "text")},
    "samples.0.valid": False,
    "samples.0.reason": "plain-a: the stream stopped",
    "samples.0.itls": [],
    "samples.9.valid": False,
    "samples.9.reason": FAULT,
}


class Page(HTMLParser):
    """What a browser would load or run, and whether every element is closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.links, self.ids, self.text = [], [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.links += [value] if name in ("src", "href", "xlink:href", "srcset", "action", "data") else []
            self.links += re.findall(r"url\(([^)]*)\)", value or "")
            self.ids += [value] if name == "id" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    @property
    def pictures(self):
        head = "data:image/svg+xml;base64,"
        assert all(link.startswith(head) for link in self.links)
        return [b64decode(link.removeprefix(head), validate=True).decode() for link in self.links]


@cache
def files_of(name):
    return render_reports(a_result(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_says_its_conclusion_in_every_form(name):
    said = headline(a_result(name))
    assert said in Page(files_of(name)["report.html"]).text
    assert escape(said) in files_of(name)["report.md"]
    assert said[:30] in on_a_terminal(a_result(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_loads_nothing_and_runs_nothing(name):
    html = files_of(name)["report.html"]
    page = Page(html)
    assert page.open == page.ids == []
    assert not {"script", "link", "iframe", "object", "image", "base", "a", "form"} & set(page.tags)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    assert not [word for word in ("@import", "http:", "https:") if word in html]
    for picture in page.pictures:
        drawn = Page(picture)
        assert {link.strip("#") for link in drawn.links} <= set(drawn.ids)
        assert not {"script", "image", "foreignobject", "a"} & set(drawn.tags)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_result_gives_the_same_bytes(name):
    assert render_reports(a_result(name)) == files_of(name)


@pytest.mark.parametrize("kind", ["ttft", "mm", "aa", "storage", "budget", "decode", "verify", "sweep", "peer"])
def test_a_kind_alone_makes_a_report_without_a_claim(kind):
    for text in everywhere(Result(kind=kind)):
        assert "No claim" in text or "No break-even" in text


def without_numbers(value):
    if isinstance(value, dict):
        return {name: without_numbers(inner) for name, inner in value.items() if name != "schema"}
    if isinstance(value, list):
        return [without_numbers(inner) for inner in value]
    return value if isinstance(value, str | bool) else None


@pytest.mark.parametrize("name", NAMES)
def test_numbers_may_be_missing_anywhere(name):
    for text in everywhere(Result.model_validate(without_numbers(golden(name)))):
        assert "nan" not in text.lower().split()
        assert "None" not in text


def test_an_arm_without_a_counted_sample_keeps_its_row():
    empty = {"completed": 0, "failed": 5, "median_ttft_ms": None}
    text = markdown_report(a_result("ttft", {"arms.own_warm": empty}))
    line = next(line for line in text.splitlines() if line.startswith("| own_warm"))
    assert line.split(" | ")[1:3] == ["-", "-"]


def test_a_run_that_was_cut_short_says_so_everywhere():
    for text in everywhere(a_result("ttft", {"complete": False})):
        assert "not complete" in text
    assert "not complete" not in "".join(everywhere(a_result("ttft")))


def test_text_of_others_is_shown_and_never_markup():
    result = golden("ttft", {"label": HOSTILE, "warnings": [HOSTILE], "metadata": {HOSTILE: HOSTILE}})
    for row in result["samples"]:
        row |= {"text": HOSTILE, "engine": HOSTILE, "reason": HOSTILE, "valid": row["document"] > 2}
    result["arms"] = {HOSTILE: result["arms"]["own_warm"], **result["arms"]}
    result["comparison"] |= {"verdict": "no claim", "why": HOSTILE}
    files = render_reports(Result.model_validate(result))
    page = Page(files["report.html"])
    assert not {"script", "a", "em", "code"} & set(page.tags)
    assert page.text.count(HOSTILE) > 40
    assert page.pictures
    assert "<script" not in files["report.md"].replace("\\<", "")


def test_a_warning_that_looks_like_nested_lists_hides_none_that_follows():
    result = a_result("ttft", {"warnings": ["- " * 40 + "x", "1. y", "the last"]})
    page = Page(html_report(result))
    assert "- " * 40 + "x" in page.text
    assert "1. y" in page.text
    assert "the last" in page.text
    assert "ol" not in page.tags


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head():
    reason = {"samples.0.valid": False, "samples.0.reason": HOSTILE + "\nsecond line"}
    for block in markdown_report(a_result("ttft", {"warnings": [HOSTILE], **reason})).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_every_sample_that_does_not_count_is_listed_with_its_reason():
    result = a_result("ttft", BROKEN)
    assert counted_sentence(result) == "28 of 30 samples counted."
    assert invalid_reasons(result)[1].endswith(f": {FAULT}")
    for text in (on_a_terminal(result), Page(html_report(result)).text):
        assert FAULT in " ".join(text.split())
        assert "plain-a: the stream stopped" in text


def test_the_arms_fit_a_terminal_of_80_columns():
    row = next(line for line in on_a_terminal(a_result("ttft")).splitlines() if line.startswith("cross_read"))
    assert all(text in row for text in ("313 ms", "2.71", "93 %", "30.0 ms"))


def test_the_plots_of_a_ttft_run_are_the_arms_the_gaps_and_the_timeline():
    drawn = plots(a_result("ttft", BROKEN))
    assert len(drawn) == 3
    assert b"cross_read: 313 ms" in drawn[0].svg
    assert b"does not count" in drawn[2].svg


def test_the_break_even_is_in_the_plot_over_the_length():
    assert any(b"break-even, 412 tokens" in drawn.svg for drawn in plots(a_result("storage")))


def test_a_slower_arm_is_said_to_be_slower_with_the_interval_the_same_way_round():
    slower = {"verdict": "slower", "speedup": an_interval(0.5, 0.2), "saved_ms": an_interval(-800.0, 0.25)}
    found = conclusion(a_result("ttft", {f"comparison.{name}": value for name, value in slower.items()}))
    assert "takes 2.00 times as long to start as a cold start" in found
    assert "interval 1.67 to 2.50" in found
    assert "TTFT is 800 ms more (600 to 1,000)" in found


def test_no_claim_says_why():
    why = "3 of 6 samples do not count: their reasons are listed"
    nothing = {"of": "cross_read", "over": "cold", "verdict": "no claim", "why": why, "speedup": {"median": None}}
    assert conclusion(a_result("ttft", {"comparison": nothing})) == f"No claim: {why}."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "different", "why": "document 1: it differs"}, "explains: text, document 1: it differs."),
        ({"verdict": "no claim", "why": "1 of 3 documents left out"}, "No claim: text, 1 of 3 documents left out."),
    ],
)
def test_an_answer_that_differs_is_not_called_right_and_a_document_that_was_left_out_is_not_called_wrong(changes, said):
    changes = {f"verify.{name}": value for name, value in {"agrees": False, **changes}.items()}
    assert headline(a_result("verify", changes)).endswith(said)


@pytest.mark.parametrize(
    ("image", "refused", "said"),
    [
        ({"verdict": "different", "why": "d 0"}, {}, "noise explains: image, d 0."),
        ({"canaries": [{"variant": "one_pixel", "holds": False, "why": "?"}] * 2}, {}, ": image one_pixel (?)."),
        ({"verdict": "no claim", "why": "1 of 1 left out"}, {}, "No claim: image, 1 of 1 left out."),
        ({}, {"video": "not taken"}, "No claim: video is refused."),
    ],
)
def test_the_conclusion_on_media_says_which_it_was(image, refused, said):
    media = {"image": {"verdict": "same", "why": "", "canaries": [], **image}}
    changes = {"verify.agrees": False, "verify.media": media, "refused": refused}
    assert headline(a_result("verify_media", changes)).endswith(said)


def test_noise_without_an_end_is_shown_as_that():
    changes = {"verify.documents.1.noise": "infinite", "verify.documents.1.cross": None}
    assert "| 1 | ∞ | - |" in markdown_report(a_result("verify", changes))


def test_a_needle_that_the_plain_engine_found_is_not_said_to_prove_nothing():
    assert "needle" not in " ".join(reasons(a_result("verify", {"verify.needles_asked": 1})))


def test_the_first_reader_pays_and_is_paid_back():
    later, back, stored = cost(a_result("ttft", {"ladder.first_sight.saved_ms": an_interval(-400.0)}))
    assert "starts 400 ms later (380 to 420) than a cold start" in later
    assert "one cross-read pays for it" in back
    assert "500 ms after the answer" in stored


@pytest.mark.parametrize(
    "saved", [an_interval(200.0), an_interval(-200.0, 3.0), an_interval(-200.0) | {"ci_high": None}]
)
def test_a_first_sight_that_is_not_shown_to_cost_anything_is_not_paid_back(saved):
    assert not any("pay" in line for line in cost(a_result("ttft", {"ladder.first_sight.saved_ms": saved})))


def test_one_ratio_is_no_span_of_ratios():
    assert headline(a_result("sweep", {"cells": golden("sweep")["cells"][:2]})) == (
        "The median TTFT of cold is 2.50 times that of cross_read, under one load."
    )


def test_documents_that_had_to_be_computed_after_all_are_in_the_table_of_loads():
    assert "| 3 | 3 | 0 |" in markdown_report(a_result("sweep", {"cells.0.recomputed": 3}))


@pytest.mark.parametrize("result", [{"kind": "latte"}, {}])
def test_a_result_of_another_kind_is_refused(result):
    with pytest.raises(ConfigError):
        render_reports(Result.model_validate(result))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (digits(19.93), "19.9"),
        (digits(1712), "1,712"),
        (digits(0), "0.00"),
        (digits(math.inf), "∞"),
        (duration(912), "912 ms"),
        (duration(1712), "1.71 s"),
        (duration(None), "-"),
        (ratio(0.9412), "0.94"),
        (unit_for([905, 19_900])(905), "0.905 s"),
        (unit_for([])(None), "-"),
        (sentence("first_sight is dear"), "first_sight is dear."),
        (sentence("the interval is wide."), "The interval is wide."),
    ],
)
def test_a_number_is_written_with_three_digits_that_count(written, expected):
    assert written == expected
