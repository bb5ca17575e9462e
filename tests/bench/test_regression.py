import json

import pytest
from bench_results import golden
from typer.testing import CliRunner

from bench import regression
from bench.__main__ import app
from bench.result import Result
from config.errors import ConfigError


def a_result(low, high, **changes):
    speedup = {"median": (low + high) / 2, "ci_low": low, "ci_high": high}
    return Result.model_validate(golden("ttft", {"comparison.speedup": speedup, **changes}))


@pytest.mark.parametrize(
    ("old", "new", "passed", "word"),
    [
        ((9, 11), (5, 7), False, "a smaller gain"),
        ((9, 11), (8, 10), True, "not distinguishable"),
        ((9, 11), (12, 14), True, "a larger gain"),
    ],
)
def test_only_an_interval_that_lies_wholly_below_is_a_regression(old, new, passed, word):
    outcome = regression.compare_results(a_result(*old), a_result(*new))
    assert (outcome.passed, word in outcome.says) == (passed, True)


@pytest.mark.parametrize(("expected", "passed"), [(8.9, True), (9, True), (9.1, False)])
def test_an_expected_gain_is_held_against_the_lower_bound(expected, passed):
    assert regression.check_expected_gain(a_result(9, 11), expected).passed is passed


@pytest.mark.parametrize("flaw", [{"comparison.verdict": "no claim"}, {"complete": False}, {"complete": "yes"}])
def test_a_result_without_a_claim_passes_no_check(flaw):
    flawed = a_result(20, 30, **flaw)
    assert not regression.compare_results(a_result(9, 11), flawed).passed
    assert not regression.check_expected_gain(flawed, 2).passed


@pytest.mark.parametrize("other", [{"input_len": 100}, {"kind": "aa"}, {"comparison.of": "own_warm"}])
def test_results_of_different_questions_are_refused(other):
    with pytest.raises(ConfigError, match=next(iter(other)).rpartition(".")[2]):
        regression.compare_results(a_result(9, 11), a_result(9, 11, **other))


@pytest.mark.parametrize("name", ["verify", "storage", "budget", "sweep", "mm"])
def test_results_without_a_single_speed_up_are_refused(name):
    with pytest.raises(ConfigError, match="ttft, aa, decode and peer"):
        regression.check_expected_gain(Result.model_validate(golden(name)), 2)


def test_other_differences_that_may_explain_it_are_named():
    other = a_result(9, 11, **{"stack.kv_serde": "none", "model_id": "another"})
    named = [each.partition(":")[0] for each in regression.differences(a_result(9, 11), other)]
    assert named == ["model_id", "kv_serde"]


def test_the_exit_code_says_it_to_a_script(tmp_path):
    folders = {}
    for name, low, high in (("old", 9, 11), ("worse", 5, 7), ("same", 9, 12)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        (folders[name] / "result.json").write_text(json.dumps(a_result(low, high).model_dump(mode="json")))

    def run(new, *more):
        return CliRunner().invoke(app, ["compare", str(folders["old"]), str(folders[new]), *more])

    assert [run("same").exit_code, run("worse").exit_code] == [0, 1]
    found = json.loads(run("worse", "--json", "-").stdout)
    assert (found["passed"], found["findings"][0]["says"][:14]) == (False, "a smaller gain")
