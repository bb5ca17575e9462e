import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fakes import a_reply

from bench.sample import Sample
from client.prompt import Prompt
from frontend.chart import chart
from frontend.history import MAX_ROWS, History, history_csv, history_json
from frontend.history_tab import PAGE_ROWS, history_table
from frontend.race import Pane, PaneStatus


def rows_of(*panes):
    history = History()
    for pane in panes:
        history.add(pane, "notes.md")
    return list(history.rows)


def answered(question="Why?", **more):
    prompt = Prompt(question, "A document.", "n0nce")
    return Pane("plain-a", PaneStatus.DONE, prompt, "so", 0.5, a_reply(ttft=0.5), **more)


def failed(nonce="n0nce", **more):
    return Pane("plain-b", PaneStatus.FAILED, Prompt("Why?", "A document.", nonce), fault="gone", **more)


def exported(*panes):
    return json.loads(history_json(rows_of(*panes), "/models/small"))


def test_every_row_of_an_export_is_a_sample_of_the_bench():
    samples = [
        Sample.model_validate(row)
        for row in exported(answered(), answered("And?"), failed("other", text="half an"))["samples"]
    ]
    shown = [(s.document, s.position, s.valid, s.reason, s.text, s.ttft_ms, s.input_len) for s in samples]
    assert shown == [
        (0, 0, True, "", "ananswer", 500, 7000),
        (0, 1, True, "", "ananswer", 500, 7000),
        (1, 0, False, "gone", "half an", None, 0),
    ]
    assert [s.mean_itl_ms for s in samples] == [pytest.approx(50), pytest.approx(50), None]


def test_the_file_has_the_frame_of_a_benchs_result():
    content = exported(answered(), failed())
    wanted = {"schema", "kind", "date", "run_id", "complete", "model_id", "tokenizer_id", "num_prompts", "warnings"}
    assert wanted <= set(content)
    assert (content["model_id"], content["num_prompts"], content["completed"], content["failed"]) == ("small", 1, 1, 1)


def test_a_row_starts_when_its_request_was_sent():
    panes = [answered(sent=sent) for sent in (1000.0, 1030.5)]
    assert [row["started_s"] for row in exported(*panes)["samples"]] == [0, 30.5]
    assert rows_of(*panes)[1].at == datetime.fromtimestamp(1030.5, UTC)


def test_a_row_keeps_no_document_and_only_the_mean_of_the_inter_token_latencies():
    [row] = rows_of(replace(answered(), reply=replace(a_reply(), itl=(0.1, 0.3))))
    assert (row.reply.itl, row.prompt.document) == ((0.2,), "")


def test_csv_has_one_line_a_row_and_no_formula():
    text = history_csv(rows_of(answered("=1+1"), answered("two\nlines, and “quotes”")))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["question"] for row in rows] == ["'=1+1", "two\nlines, and “quotes”"]
    assert rows[0]["ttft_ms"] == "500.0"


def test_ten_thousand_rows_are_kept_and_one_page_of_them_is_drawn(topology):
    rows = rows_of(*[answered()] * (MAX_ROWS + 50))
    assert len(rows) == MAX_ROWS
    html = history_table(rows, 0) + chart(rows, topology.engines)
    assert len(html) < 200_000
    assert "page 1 of 200" in html
    assert f"<td>{MAX_ROWS + 50}</td>" in html


@pytest.mark.parametrize(("page", "first", "count"), [(0, 120, PAGE_ROWS), (2, 20, 20)])
def test_pages_go_from_the_newest_row_back_to_the_first(page, first, count):
    numbers = re.findall(r"<tr><td>(\d+)", history_table(rows_of(*[answered()] * 120), page))
    assert [int(number) for number in numbers] == list(range(first, first - count, -1))


def test_questions_and_reasons_in_the_table_are_escaped():
    evil = replace(failed(), fault="<script>")
    assert "<script>" not in history_table(rows_of(answered("<script>"), evil), 0)


def test_the_chart_has_answers_where_their_times_are(topology):
    rows = rows_of(*(answered(sent=sent) for sent in (1000.0, 1010.0, 1100.0)))
    html = chart(rows, topology.engines)
    left, near, right = (float(x) for x in re.findall(r'translate\((\d+\.\d) \d+\.\d\)"><circle', html))
    assert (near - left) / (right - left) == pytest.approx(0.1, abs=0.01)
