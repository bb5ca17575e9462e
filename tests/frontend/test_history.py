import csv
import io
import json
import re
import time
from dataclasses import replace

import pytest
from fakes import a_reply

from engines.prompt import Prompt
from frontend.chart import chart
from frontend.history import ROWS, History, as_csv, as_json
from frontend.race import Pane, Stage
from frontend.rows import table


def history_of(*panes):
    history = History()
    for pane in panes:
        history.add(pane, "notes.md")
    return history


def pane(question="Why?", engine="plain-a", ttft=0.5, **more):
    prompt = Prompt(question, "A document.", "n0nce")
    return Pane(engine, Stage.DONE, prompt, "so", ttft, a_reply(engine, ttft=ttft), **more)


def test_rows_have_the_names_of_a_benchs_sample():
    from bench.sample import Sample

    row = json.loads(as_json(history_of(pane()).rows))["samples"][0]
    allowed = set(Sample.model_fields)
    assert {
        "engine",
        "ttft_ms",
        "prompt_tokens",
        "cached_tokens",
        "source",
        "nonce",
        "reason",
        "started_s",
    } <= allowed & set(row)
    assert row["ttft_ms"] == 500


def test_a_failure_is_a_row_without_a_ttft():
    failed = Pane("plain-b", Stage.FAILED, Prompt("Why?"), fault="plain-b: gone")
    row = json.loads(as_json(history_of(failed).rows))["samples"][0]
    assert (row["reason"], row["valid"], row.get("ttft_ms")) == ("plain-b: gone", False, None)


def test_csv_has_one_line_a_row_and_no_formula():
    text = as_csv(history_of(pane("=1+1"), pane("two\nlines, and “quotes”")).rows)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["question"] for row in rows] == ["'=1+1", "two\nlines, and “quotes”"]
    assert rows[0]["ttft_ms"] == "500.0"


def test_ten_thousand_rows_are_kept_and_one_page_of_them_is_drawn(topology):
    history = history_of(*[pane()] * (ROWS + 50))
    assert len(history.rows) == ROWS
    began = time.perf_counter()
    html = table(history.page(0, 50), 0, 200, len(history.rows)) + chart(list(history.rows)[-1600:], topology.engines)
    assert time.perf_counter() - began < 1
    assert len(html) < 200_000
    assert f"<td>{ROWS + 50}</td>" in html


def test_pages_go_back_to_the_first_row():
    history = history_of(*[pane()] * 120)
    assert [row.number for row in history.page(2, 50)] == list(range(20, 0, -1))


def test_names_and_questions_in_the_table_are_escaped():
    assert "<script>" not in table(history_of(pane("<script>")).page(0, 50), 0, 1, 1)


def test_the_chart_has_questions_where_their_times_are(topology):
    rows = [replace(row, started_s=at) for row, at in zip(history_of(*[pane()] * 3).rows, (0, 10, 100), strict=True)]
    left, near, right = (
        float(x)
        for x in re.findall(r'<circle cx="(\d+\.\d)" cy="\d+\.\d" r="4.5"/>(?!</svg>)', chart(rows, topology.engines))
    )
    assert (near - left) / (right - left) == pytest.approx(0.1, abs=0.01)
