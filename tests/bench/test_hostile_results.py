"""A result may come from anybody: whatever its JSON is, there is a report, or one line that says why not."""

import json
import os
from contextlib import suppress

import pytest
from bench_results import HOSTILE, NAMES, golden, on_a_terminal, put
from bench_rows import OPTIONS, Engines, measure
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench import regression
from bench.__main__ import app
from bench.report.render import report_files, write_reports
from bench.result import SCHEMA, Result
from bench.result_io import RESULT, read_json, read_result, write_result
from bench.runner import resume_run
from config.errors import ArenaError, ConfigError, ResultError
from frontend.results_list import list_results

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([10**400, 1e300, "{first}", "{0}", "\ud800", "\x1b[2J", "../../up", "/etc/passwd", HOSTILE]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


reading = pytest.mark.parametrize("command", [["report"], ["compare"], ["ttft", "--resume", "--result-dir"]])


def places(value, here=()):
    """The path of each value inside, of a list's first three."""
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*here, key))


@st.composite
def damaged(draw):
    """A result of some kind in which up to three values are others."""
    result = golden(draw(st.sampled_from(NAMES)))
    for _ in range(draw(st.integers(1, 3))):
        put(result, draw(st.sampled_from([place for place in places(result) if place])), draw(JSON))
    return result


def read_by_all(folder, result):
    """By every reader of results."""
    folder.mkdir(exist_ok=True)
    (folder / RESULT).write_text(json.dumps(result))
    list_results(folder.parent)
    with suppress(ArenaError):
        found, other = read_result(folder), Result.model_validate(golden("ttft"))
        on_a_terminal(found)
        with suppress(ConfigError):
            outcomes = [regression.compare_results(found, other), regression.compare_results(found, found)]
            regression.comparison_json(outcomes, regression.differences(found, other))
        with suppress(ConfigError):
            resume_run(folder, OPTIONS)
        write_reports(report_files(found), folder)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(result=damaged())
def test_whatever_stands_in_a_result_there_is_a_report_or_an_error_of_ours(tmp_path_factory, result):
    read_by_all(tmp_path_factory.mktemp("results") / "run", result)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("comparison", "text"),
        ("comparison.speedup", None),
        ("comparison.speedup.ci_low", "9"),
        ("comparison.of", ["cross_read"]),
        ("comparison.verdict", {}),
        ("warnings", 1.5),
        ("preflight.mismatches", 7),
        ("options", {"base_url": ["{0}"]}),
        ("samples.0.arm", []),
        ("samples.0.ttft_ms", 10**400),
        ("arms.cold.median_ttft_ms", 1e300),
        ("date", 2026),
        ("metadata", {"\ud800": "\ud800"}),
    ],
)
def test_what_a_search_has_found_before(tmp_path, place, value):
    read_by_all(tmp_path / "run", golden("ttft", {place: value}))


def a_file(folder, text):
    folder.mkdir()
    (folder / RESULT).write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[" * 100_000,
        '{"kind": ["ttft"]}',
        '{"kind": "ttft", "a": ' + "[" * 200 + "]" * 200 + "}",
        '{"kind": "ttft", "comparison"',
        '{"kind": NaN}',
        '{"n": ' + "1" * 5000 + "}",
    ],
)
@reading
def test_what_is_no_result_is_one_line_and_wrong_usage(tmp_path, text, command):
    folder = a_file(tmp_path / "run", text)
    done = CliRunner().invoke(app, [*command, *([folder] * (2 if command == ["compare"] else 1))])
    assert isinstance(done.exception, ConfigError)
    assert "\n" not in str(done.exception)
    assert list_results(tmp_path) == []


@reading
@pytest.mark.parametrize("schema", [2, None])
def test_a_result_of_another_schema_is_refused_by_all_who_read_it(tmp_path, schema, command):
    texts = {str(each): json.dumps(golden("ttft", {"schema": each})) for each in (schema, SCHEMA)}
    folders = [a_file(tmp_path / name, text) for name, text in texts.items()]
    done = CliRunner().invoke(app, [*command, *(folders if command == ["compare"] else folders[:1])])
    assert isinstance(done.exception, ConfigError)
    assert f"schema {schema}" in str(done.exception)
    assert [result.name for result in list_results(tmp_path)] == [str(SCHEMA)]


@pytest.mark.parametrize("speedup", [None, {}, [], {"median": "9", "ci_low": 8, "ci_high": 10}, {"median": 9}])
def test_a_result_whose_speed_up_lacks_a_number_makes_no_claim(tmp_path, speedup):
    texts = {"old": golden("ttft"), "new": golden("ttft", {"comparison.speedup": speedup})}
    folders = [a_file(tmp_path / name, json.dumps(each)) for name, each in texts.items()]
    done = CliRunner().invoke(app, ["compare", *folders])
    assert (done.exit_code, "makes no claim" in done.stdout) == (1, True)


def test_no_escape_sequence_of_a_result_reaches_the_terminal(tmp_path):
    hostile = golden("ttft", {"label": "\x1b]0;owned\x07", "warnings": ["\x1b[2Jcleared", "\x9b31m"]})
    hostile["arms"]["\x1b[8mhidden"] = hostile["arms"]["cold"]
    done = CliRunner().invoke(app, ["report", a_file(tmp_path / "run", json.dumps(hostile))])
    assert done.exit_code == 0
    assert not {"\x1b", "\x07", "\x9b"} & set(done.output)
    assert r"\x1b[2Jcleared" in done.output


@pytest.fixture
def left(topology, tmp_path):
    """Writes the result that an interrupted run left, with options that somebody has changed."""
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, Engines(fails_after=9))

    def with_options(**changes):
        result = read_json(tmp_path)
        write_result(tmp_path / RESULT, {**result, "options": {**result["options"], **changes}})
        return tmp_path

    return with_options


@pytest.mark.parametrize(
    ("field", "value", "typed"),
    [
        ("prepare", "touch /tmp/owned", "--prepare 'touch /tmp/owned'"),
        ("base_url", ("http://a.example", "http://b.example"), "--base-url http://a.example"),
        ("model", "large", "--model large"),
    ],
)
def test_what_a_result_would_run_or_contact_must_be_given_again(left, field, value, typed):
    folder = left(**{field: value})
    for chosen in (OPTIONS, OPTIONS.model_copy(update={field: "another"})):
        with pytest.raises(ConfigError) as caught:
            resume_run(folder, chosen)
        assert typed in str(caught.value)
    options, _ = resume_run(folder, OPTIONS.model_copy(update={field: value}))
    assert getattr(options, field) == value


def test_an_option_that_the_run_did_not_begin_with_is_not_added_to_it(left):
    with pytest.raises(ConfigError, match="without --prepare"):
        resume_run(left(), OPTIONS.model_copy(update={"prepare": "sync"}))


@pytest.mark.parametrize(
    "change",
    [
        {"input_lens": [10**9]},
        {"input_lens": []},
        {"num_warmups": 10**6},
        {"sizes": {"image": [10**5, 10**5]}},
        {"modality": ["smell"]},
        {"goodput": {"joy": 1}},
        {"confidence_level": 1},
    ],
)
def test_options_that_no_command_line_takes_are_not_taken_from_a_result(left, change):
    with pytest.raises(ConfigError, match="cannot be resumed"):
        resume_run(left(**change), OPTIONS)


@pytest.fixture
def folders(tmp_path):
    """A folder for a run, and one that it has nothing to do with."""
    for name in ("elsewhere", "run"):
        (tmp_path / name).mkdir()
    return tmp_path / "run", tmp_path / "elsewhere"


def test_reports_stay_in_the_folder_of_their_result(folders, tmp_path):
    run, elsewhere = folders
    arms = {"../../up": {}, "/abs/olute": {}, "..": {}, "": {}, "a\0b": {}, "x" * 5000: {}}
    (elsewhere / "file").write_text("kept")
    (run / ".report.md.partial").symlink_to(elsewhere / "file")
    write_reports(report_files(Result(kind="ttft", arms=arms)), run)
    assert (elsewhere / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "run"]
    assert {path.parent for path in run.rglob("*.json")} == {run / "arms"}


def test_a_link_in_the_place_of_the_folder_of_arms_is_not_followed(folders):
    run, elsewhere = folders
    (run / "arms").symlink_to(elsewhere)
    with pytest.raises(ResultError, match="is a link"):
        write_reports(report_files(Result(kind="ttft", arms={"cold": {}})), run)
    assert list(elsewhere.iterdir()) == []


def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / RESULT)
    with pytest.raises(ConfigError, match="not a file"):
        read_result(tmp_path / "run")
    assert list_results(tmp_path) == []
