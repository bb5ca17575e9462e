import json

import pytest
from typer.testing import CliRunner

from bench import regression
from bench.__main__ import app
from config.errors import ConfigError


def a_result(low, high, **more):
    speedup = {"median": (low + high) / 2, "ci_low": low, "ci_high": high, "min": low, "max": high, "n": 5}
    frame = {"schema": 1, "kind": "ttft", "complete": True, "input_len": 7000, "model_id": "small"}
    comparison = {"of": "cross_read", "over": "cold", "verdict": "faster", "speedup": speedup}
    return {**frame, "comparison": comparison, **more}


@pytest.mark.parametrize(
    ("old", "new", "passed", "word"),
    [
        ((9, 11), (5, 7), False, "a smaller gain"),
        ((9, 11), (8, 10), True, "not distinguishable"),
        ((9, 11), (12, 14), True, "a larger gain"),
    ],
)
def test_only_an_interval_that_lies_wholly_below_is_a_regression(old, new, passed, word):
    finding = regression.compare_results(a_result(*old), a_result(*new))
    assert (finding.passed, word in finding.says) == (passed, True)


@pytest.mark.parametrize(("expected", "passed"), [(8.9, True), (9, True), (9.1, False)])
def test_an_expected_gain_is_held_against_the_lower_bound(expected, passed):
    assert regression.check_expected_gain(a_result(9, 11), expected).passed is passed


@pytest.mark.parametrize("flaw", ["no claim", "not complete"])
def test_a_result_without_a_claim_passes_no_gate(flaw):
    flawed = a_result(20, 30, complete=flaw != "not complete")
    flawed["comparison"]["verdict"] = flaw
    assert not regression.compare_results(a_result(9, 11), flawed).passed
    assert not regression.check_expected_gain(flawed, 2).passed


def test_results_that_say_nothing_of_each_other_are_refused():
    with pytest.raises(ConfigError, match="input_len"):
        regression.compare_results(a_result(9, 11), a_result(9, 11, input_len=100))
    with pytest.raises(ConfigError, match="ttft, aa, decode and peer"):
        regression.check_expected_gain({"kind": "verify"}, 2)


def test_the_exit_code_says_it_to_a_script(tmp_path):
    for name, low, high in (("old", 9, 11), ("worse", 5, 7), ("same", 9, 12)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(a_result(low, high)))
    run = lambda *names: CliRunner().invoke(app, ["compare", *(str(tmp_path / n) if n.isalpha() else n for n in names)])  # noqa: E731
    assert run("old", "same").exit_code == 0
    assert run("old", "worse").exit_code == 1
    said = json.loads(run("old", "worse", "--json", "-").stdout)
    assert (said["passed"], said["findings"][0]["says"][:14]) == (False, "a smaller gain")
