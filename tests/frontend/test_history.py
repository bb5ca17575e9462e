import csv
import io
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fakes import a_reply

from client.prompt import Prompt
from frontend.chart import chart
from frontend.history import ROWS, History, history_csv, history_json
from frontend.history_table import history_table
from frontend.race import Pane, PaneStatus


def history_of(*panes):
    history = History()
    for pane in panes:
        history.add(pane, "notes.md")
    return history


def pane(question="Why?", engine="plain-a", ttft=0.5, **more):
    prompt = Prompt(question, "A document.", "n0nce")
    return Pane(engine, PaneStatus.DONE, prompt, "so", ttft, a_reply(engine, ttft=ttft), **more)


def exported(*panes):
    return json.loads(history_json(history_of(*panes).rows, "/models/small"))


def test_every_row_of_an_export_is_a_sample_of_the_bench():
    from bench.sample import Sample

    stopped = Pane("plain-b", PaneStatus.STOPPED, Prompt("Why?", nonce="other"), "half an", 1.0, fault="stopped")
    content = exported(pane(), pane("And?"), stopped)
    samples = [Sample.model_validate(row) for row in content["samples"]]
    assert [(each.document, each.position, each.valid, each.text) for each in samples] == [
        (0, 0, True, "ananswer"),
        (0, 1, True, "ananswer"),
        (1, 0, False, "half an"),
    ]
    assert [(each.ttft_ms, each.input_len) for each in samples] == [(500, 7000), (500, 7000), (None, 0)]
    assert samples[0].mean_itl_ms == pytest.approx(50)


def test_the_file_has_the_frame_of_a_benchs_result():
    content = exported(pane(), Pane("plain-b", PaneStatus.FAILED, Prompt("Why?", "A document.", "n0nce"), fault="gone"))
    wanted = {"schema", "kind", "date", "run_id", "complete", "model_id", "tokenizer_id", "num_prompts", "warnings"}
    assert wanted <= set(content)
    assert (content["model_id"], content["num_prompts"], content["completed"], content["failed"]) == ("small", 1, 1, 1)


def test_a_row_starts_when_its_request_was_sent():
    first, second = (replace(pane(), sent=sent) for sent in (1000.0, 1030.5))
    assert [row["started_s"] for row in exported(first, second)["samples"]] == [0, 30.5]
    assert history_of(second).rows[0].at == datetime.fromtimestamp(1030.5, UTC)


def test_a_row_keeps_no_inter_token_latencies():
    assert history_of(pane()).rows[0].reply.itl == ()


def test_a_failure_is_a_row_without_a_ttft():
    row = exported(Pane("plain-b", PaneStatus.FAILED, Prompt("Why?"), fault="plain-b: gone"))["samples"][0]
    assert (row["reason"], row["valid"], row.get("ttft_ms")) == ("plain-b: gone", False, None)


def test_csv_has_one_line_a_row_and_no_formula():
    text = history_csv(history_of(pane("=1+1"), pane("two\nlines, and “quotes”")).rows)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["question"] for row in rows] == ["'=1+1", "two\nlines, and “quotes”"]
    assert rows[0]["ttft_ms"] == "500.0"


def test_ten_thousand_rows_are_kept_and_one_page_of_them_is_drawn(topology):
    history = history_of(*[pane()] * (ROWS + 50))
    assert len(history.rows) == ROWS
    began = time.perf_counter()
    html = history_table(history.page(0, 50), 0, 200, len(history.rows)) + chart(
        list(history.rows)[-1600:], topology.engines
    )
    assert time.perf_counter() - began < 1
    assert len(html) < 200_000
    assert f"<td>{ROWS + 50}</td>" in html


def test_pages_go_back_to_the_first_row():
    history = history_of(*[pane()] * 120)
    assert [row.number for row in history.page(2, 50)] == list(range(20, 0, -1))


def test_names_and_questions_in_the_table_are_escaped():
    assert "<script>" not in history_table(history_of(pane("<script>")).page(0, 50), 0, 1, 1)


def test_the_chart_has_questions_where_their_times_are(topology):
    rows = [
        replace(row, at=datetime.fromtimestamp(at, UTC))
        for row, at in zip(history_of(*[pane()] * 3).rows, (0, 10, 100), strict=True)
    ]
    left, near, right = (
        float(x)
        for x in re.findall(r'<circle cx="(\d+\.\d)" cy="\d+\.\d" r="4.5"/>(?!</svg>)', chart(rows, topology.engines))
    )
    assert (near - left) / (right - left) == pytest.approx(0.1, abs=0.01)
