import json

import pytest
from bench_results import GOLDEN, NAMES
from golden_runs import RUNS, run_golden

from bench.report.render import render_reports
from bench.result import Result
from bench.result_io import read_result, to_json_text


@pytest.mark.parametrize("name", NAMES)
def test_a_result_that_is_read_is_written_again_with_the_same_bytes(name):
    text = (GOLDEN / f"{name}.json").read_text()
    assert Result.model_validate(json.loads(text)).model_dump(mode="json") == json.loads(text)
    assert to_json_text(read_result(GOLDEN / f"{name}.json")) == text


@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_the_result_that_is_kept_of_its_kind(name, tmp_path):
    assert run_golden(name, tmp_path) == (GOLDEN / f"{name}.json").read_text(), "python tests/golden_runs.py"


@pytest.mark.parametrize("name", NAMES)
def test_the_report_of_a_result_is_the_one_that_is_kept(name):
    result = read_result(GOLDEN / f"{name}.json")
    assert render_reports(result)["report.md"] == (GOLDEN / f"{name}.md").read_text(), "python tests/golden_runs.py"


def test_fields_that_this_version_does_not_know_are_kept_and_wrong_ones_are_missing():
    result = Result.model_validate({"new": [1], "duration": "long", "kind": "ttft", "arms": {"cold": 7}})
    assert (result.duration, result.arms["cold"].median_ttft_ms) == (None, None)
    assert result.model_dump(mode="json") == {"new": [1], "duration": None, "kind": "ttft", "arms": {"cold": {}}}
