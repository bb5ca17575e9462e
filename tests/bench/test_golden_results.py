import os

import pytest
from bench_results import GOLDEN, a_result, golden
from golden_runs import RUNS, run_golden

from bench.report.markdown import markdown_report
from bench.result import Result
from bench.result_io import to_json_text


def kept(file, text):
    """What was kept of a run; WRITE_GOLDEN=1 keeps the text instead, to be looked at before it is committed."""
    if os.environ.get("WRITE_GOLDEN"):
        (GOLDEN / file).write_text(text)
    return (GOLDEN / file).read_text()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_the_result_and_the_report_that_are_kept_of_its_kind(name, tmp_path):
    text = run_golden(name, tmp_path)
    assert text == kept(f"{name}.json", text)
    report = markdown_report(a_result(name))
    assert report == kept(f"{name}.md", report)


@pytest.mark.parametrize("name", RUNS)
def test_a_result_that_is_read_is_written_again_with_the_same_bytes(name):
    assert a_result(name).model_dump(mode="json") == golden(name)
    assert to_json_text(a_result(name)) == (GOLDEN / f"{name}.json").read_text()


def test_fields_that_this_version_does_not_know_are_kept_and_wrong_ones_are_missing():
    result = Result.model_validate({"new": [1], "duration": "long", "kind": "ttft", "arms": {"cold": 7}})
    assert (result.duration, result.arms["cold"].median_ttft_ms) == (None, None)
    assert result.model_dump(mode="json") == {"new": [1], "duration": None, "kind": "ttft", "arms": {"cold": {}}}
