import math
import re
from functools import cache
from html.parser import HTMLParser

import pytest
from bench_results import (
    FAULT,
    HOSTILE,
    NOBODY,
    RESULTS,
    a_comparison,
    a_decode_result,
    a_storage_result,
    a_sweep_result,
    a_ttft_result,
    a_verify_result,
    an_aa_result,
    an_arm,
    an_interval,
    everywhere,
    on_a_terminal,
)

from bench.report import markdown
from bench.report.conclusion import headline, reasons
from bench.report.cost import cost
from bench.report.labels import arm_meaning, conclusion, counted_sentence, invalid_reasons
from bench.report.number_format import digits, duration, ratio, sentence, unit_for
from bench.report.plots import plots
from bench.report.render import render_reports
from config.errors import ConfigError


class Page(HTMLParser):
    """What a browser would load or run, and whether every element is closed."""

    VOID = ("meta", "path", "use", "rect", "br")

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.links, self.ids, self.text = [], [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag != "meta":
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


@cache
def files_of(kind):
    return render_reports(RESULTS[kind]())


@pytest.mark.parametrize("kind", RESULTS)
def test_every_kind_says_its_conclusion_in_every_form(kind):
    result = RESULTS[kind]()
    files = files_of(kind)
    assert headline(result) in Page(files["report.html"]).text
    assert markdown.escape(headline(result)) in files["report.md"]
    assert headline(result)[:30] in on_a_terminal(result)


@pytest.mark.parametrize("kind", RESULTS)
def test_a_page_loads_nothing_and_runs_nothing(kind):
    html = files_of(kind)["report.html"]
    page = Page(html)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object", "image", "base"} & set(page.tags)
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "@import" not in html
    assert "http:" not in html
    assert "https:" not in html


@pytest.mark.parametrize("kind", RESULTS)
def test_identifiers_of_a_page_are_unique_and_what_is_referred_to_is_there(kind):
    page = Page(files_of(kind)["report.html"])
    assert len(page.ids) == len(set(page.ids))
    assert {link.strip("#") for link in page.links} <= set(page.ids)


@pytest.mark.parametrize("kind", RESULTS)
def test_the_same_result_gives_the_same_bytes(kind):
    assert render_reports(RESULTS[kind]()) == files_of(kind)


@pytest.mark.parametrize("kind", RESULTS)
def test_a_frame_alone_makes_a_report_without_a_claim(kind):
    for text in everywhere({"kind": kind}):
        assert "No claim" in text or "No break-even" in text


def without_numbers(value):
    if isinstance(value, dict):
        return {name: without_numbers(inner) for name, inner in value.items() if name != "schema"}
    if isinstance(value, list):
        return [without_numbers(inner) for inner in value]
    return value if isinstance(value, str | bool) else None


@pytest.mark.parametrize("kind", RESULTS)
def test_numbers_may_be_missing_anywhere(kind):
    for text in everywhere(without_numbers(RESULTS[kind]())):
        assert "nan" not in text.lower().split()
        assert "None" not in text


def test_an_arm_without_a_counted_sample_keeps_its_row():
    result = a_ttft_result()
    result["arms"]["own_warm"] = an_arm([])
    line = next(line for line in render_reports(result)["report.md"].splitlines() if line.startswith("| own_warm"))
    assert line.split(" | ")[1:3] == ["-", "-"]


def test_a_run_that_was_cut_short_says_so_everywhere():
    for text in everywhere(a_ttft_result(documents=1, complete=False)):
        assert "not complete" in text
    assert "not complete" not in "".join(everywhere(a_ttft_result()))


def test_text_of_others_is_shown_and_never_markup():
    result = a_ttft_result(documents=6, label=HOSTILE, warnings=[HOSTILE], metadata={HOSTILE: HOSTILE})
    for row in result["samples"]:
        row |= {"text": HOSTILE, "engine": HOSTILE, "reason": row["reason"] and HOSTILE}
    result["arms"][HOSTILE] = result["arms"].pop("own_warm")
    files = render_reports(result)
    page = Page(files["report.html"])
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "<script" not in files["report.md"].replace("\\<", "")


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head():
    result = a_ttft_result(warnings=[HOSTILE])
    result["samples"][0] |= {"valid": False, "reason": HOSTILE + "\nsecond line"}
    for block in render_reports(result)["report.md"].split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_a_percentile_without_support_says_that_n_is_too_small():
    for text in files_of("ttft").values():
        assert "n too small" in text


def test_every_sample_that_does_not_count_is_listed_with_its_reason():
    result = a_ttft_result()
    assert counted_sentence(result) == "70 of 72 samples counted."
    assert invalid_reasons(result)[1] == f"document 4, cross_read: {FAULT}"
    assert "plain-a: the stream stopped" in on_a_terminal(result)
    page = Page(render_reports(result)["report.html"]).text
    assert FAULT in page
    assert "plain-a: the stream stopped" in page


def test_a_ladder_fits_a_terminal_of_80_columns():
    lines = on_a_terminal(a_ttft_result(), width=80).splitlines()
    row = next(line for line in lines if line.startswith("cross_read"))
    assert all(text in row for text in ("1.71 s", "11.6", "99 %", "45.0 ms"))


def test_the_plots_of_a_ttft_run_are_the_ladder_the_gaps_and_the_timeline():
    drawn = "".join(plots(a_ttft_result()).values())
    assert drawn.count("<svg") == 3
    assert "cross_read: 1.71 s" in drawn
    assert "does not count" in drawn


def test_the_break_even_is_in_the_plot_over_the_length():
    drawn = "".join(plots(a_storage_result()).values())
    assert "break-even, 430 tokens" in drawn


def test_a_faster_arm_is_claimed_with_interval_n_and_what_it_saves():
    assert conclusion(a_ttft_result()) == (
        "Reading what the other LMCache engine stored starts 11.6 times sooner than a cold start. "
        "Median of 12 documents, 95 % interval 11.1 to 12.2. TTFT is 18.2 s less (17.3 to 19.1)."
    )


def test_a_slower_arm_is_said_to_be_slower_with_the_interval_the_same_way_round():
    worse = {"speedup": an_interval(0.5, 0.2), "saved_ms": an_interval(-800.0, 0.25)}
    found = conclusion(a_ttft_result(comparison=a_comparison(verdict="slower", **worse)))
    assert "takes 2.00 times as long to start as a cold start" in found
    assert "interval 1.67 to 2.50" in found
    assert "TTFT is 800 ms more (600 to 1,000)" in found


def test_arms_that_cannot_be_told_apart_are_not_ranked():
    assert "plain_b cannot be told from plain_a" in headline(an_aa_result())


def test_no_claim_says_why():
    why = "3 of 6 samples do not count: their reasons are listed"
    nothing = a_comparison(verdict="no claim", why=why, speedup=NOBODY, saved_ms=NOBODY)
    assert conclusion(a_ttft_result(comparison=nothing)) == f"No claim: {why}."


def test_decoding_is_compared_by_the_time_of_an_output_token():
    assert "takes 1.25 times as long for an output token as a cold start" in headline(a_decode_result())


def test_an_answer_that_differs_is_not_called_right():
    wrong = a_verify_result(agrees=False, verdict="different", why="document 1: the needle is not found")
    assert headline(wrong) == (
        "The answers differ by more than noise explains: text, document 1: the needle is not found."
    )
    assert "right one" in headline(a_verify_result())


def test_a_document_that_was_left_out_is_not_called_a_wrong_answer():
    """A volume that is authenticated costs a recompute where it was damaged; the answer is right."""
    why = "1 of 3 documents left out, the first for this: document 2, cross_read: only 0 of 7000 tokens were read"
    assert headline(a_verify_result(agrees=False, verdict="no claim", why=why)) == f"No claim: text, {why}."


def test_media_say_which_it_was():
    def said(refused=(), **image):
        media = {"image": {"verdict": "same", "why": "", "canaries": [], **image}}
        found = a_verify_result(agrees=False, media=media)
        return headline(found | {"refused": dict.fromkeys(refused, "not taken")})

    astray = [{"variant": "one_pixel", "holds": False, "why": "no answer"}] * 2
    assert "differ by more than noise explains: image, d 0" in said(verdict="different", why="d 0")
    assert said(canaries=astray).endswith("found again: image one_pixel (no answer).")
    assert said(verdict="no claim", why="1 of 1 documents left out") == ("No claim: image, 1 of 1 documents left out.")
    assert said(refused=["video"]) == "No claim: video is refused."


def test_noise_without_an_end_is_shown_as_that():
    assert "| 1 | ∞ | - |" in files_of("verify")["report.md"]


def test_a_needle_that_plain_never_finds_is_said_to_prove_nothing():
    assert "needle proves nothing" in " ".join(reasons(a_verify_result(needles_asked=0)))
    assert "needle" not in " ".join(reasons(a_verify_result()))


def test_the_first_reader_pays_and_is_paid_back():
    later, back, stored = cost(a_ttft_result())
    assert "starts 1.50 s later (1.43 to 1.57) than a cold start" in later
    assert "one cross-read pays for it" in back
    assert "400 ms after the answer" in stored


@pytest.mark.parametrize(
    "saved", [an_interval(200.0), an_interval(-200.0, 3.0), an_interval(-200.0) | {"ci_high": None}]
)
def test_a_first_sight_that_is_not_shown_to_cost_anything_is_not_paid_back(saved):
    result = a_ttft_result()
    result["ladder"]["first_sight"] = {"speedup": an_interval(1.0), "saved_ms": saved}
    assert not any("pay" in line for line in cost(result))


def test_a_device_that_could_not_be_measured_has_its_reason_and_every_pattern_its_row():
    text = files_of("storage")["report.md"]
    lines = [line for line in text.splitlines() if line.startswith(("| read", "| write"))]
    assert len(lines) == 6
    assert sum("past the page cache" in line for line in lines) == 2
    assert "| write, device | sequential | 1.30 |" in text
    assert "not measured: install fio" in text


def test_what_decode_compares_stands_in_its_table_and_in_words_in_its_evidence():
    text = files_of("decode")["report.md"]
    assert "| **first_sight** | **45.2 ms** | **0.80** |" in text
    assert "| other_instance | 36.4 ms | 0.99 |" in text
    assert "The time of an output token is 9.00 ms more" in conclusion(a_decode_result())


def test_documents_that_had_to_be_computed_after_all_stand_in_the_table_of_loads():
    assert "computed again" in files_of("sweep")["report.md"]
    line = next(line for line in files_of("sweep")["report.md"].splitlines() if "cross_read | " in line)
    assert "| 3 | 8 | 0 |" in line


def test_one_ratio_is_no_span_of_ratios():
    assert headline(a_sweep_result(loads=(2,))) == (
        "The median TTFT of cold is 10.0 times that of cross_read, under one load."
    )
    result = a_sweep_result()
    assert "is 10.0 times that of cross_read, over 2 loads" in headline(result)
    result["cells"][0]["median_ttft_ms"] *= 2
    assert "is 10.0 to 20.0 times" in headline(result)


def test_servers_of_the_callers_are_not_called_lmcache():
    foreign = {"options": {"base_url": ["one", "two"]}}
    assert arm_meaning(foreign, "other_instance") == "the second server, only the first has seen it"


@pytest.mark.parametrize("result", [{"kind": "latte"}, {}, {"kind": "ttft", "schema": 2}])
def test_a_result_of_another_version_is_refused(result):
    with pytest.raises(ConfigError):
        render_reports(result)


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
