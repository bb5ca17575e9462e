"""A result may come from anybody: whatever its JSON is, there is a report, or one line that says why not."""

import copy
import json
import os
from contextlib import suppress

import pytest
from bench_results import HOSTILE, RESULTS, a_comparison, a_frame, a_rung, a_ttft_result, on_a_terminal
from bench_rows import OPTIONS, Engines, measure
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench import regression
from bench.__main__ import app
from bench.result_io import RESULT, read_result, write_result
from bench.runner import report_files, resume_run, write_reports
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


def an_mm_result():
    canary = {"held": 3, "unproven": 1, "untold": 1, "failed": [2]}
    image = {"comparison": a_comparison(), "media_tokens": 1200, "text_tokens": 9, "canary": canary}
    image |= {"ladder": {"image_own_warm": a_rung("own_warm")}, "processor_warm_ratio": {"median": 0.9}}
    query = {"query": "image", "n": 2, "total_tokens": 100, "kv_hits": 50, "kv_hits_shared": 10, "hit_rate_pct": 50.0}
    return a_frame("mm", modalities={"image": image}, queries=[query], refused={"video": "no"})


BASES = [json.loads(json.dumps(make())) for make in (*RESULTS.values(), an_mm_result, lambda: a_ttft_result(2))]


def places(value, here=()):
    """The path of each value inside, of a list's first three."""
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*here, key))


@st.composite
def damaged(draw):
    """A result of some kind in which up to three values are others."""
    result = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([place for place in places(result) if place]))
        inner = result
        for key in path:
            inner = inner[key]
        inner[last] = draw(JSON)
    return result


def said_of(folder, result):
    """What every reader of results makes of it."""
    folder.mkdir(exist_ok=True)
    (folder / RESULT).write_text(json.dumps(result))
    list_results(folder.parent)
    with suppress(ArenaError):
        found = read_result(folder)
        on_a_terminal(found)
        with suppress(ConfigError):
            regression.comparison_json(
                [regression.compare_results(found, BASES[0]), regression.compare_results(found, found)],
                regression.differences(found, BASES[0]),
            )
        with suppress(ConfigError):
            resume_run(folder, OPTIONS)
        write_reports(report_files(found), folder)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(result=damaged())
def test_whatever_stands_in_a_result_there_is_a_report_or_an_error_of_ours(tmp_path_factory, result):
    said_of(tmp_path_factory.mktemp("results") / "run", result)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("comparison",), "text"),
        (("comparison", "speedup"), None),
        (("comparison", "speedup", "ci_low"), "9"),
        (("comparison", "of"), ["cross_read"]),
        (("comparison", "verdict"), {}),
        (("warnings",), 1.5),
        (("preflight", "mismatches"), 7),
        (("options",), {"base_url": ["{0}"]}),
        (("samples", 0, "arm"), []),
        (("samples", 0, "ttft_ms"), 10**400),
        (("arms", "cold", "median_ttft_ms"), 1e300),
    ],
)
def test_what_a_search_has_found_before(tmp_path, place, value):
    result = copy.deepcopy(BASES[0])
    inner = result
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    said_of(tmp_path / "run", result)


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
@pytest.mark.parametrize("command", [["report"], ["compare"], ["ttft", "--resume", "--result-dir"]])
def test_what_is_no_result_is_one_line_and_wrong_usage(tmp_path, text, command):
    folder = a_file(tmp_path / "run", text)
    done = CliRunner().invoke(app, [*command, *([folder] * (2 if command == ["compare"] else 1))])
    assert isinstance(done.exception, ConfigError)
    assert "\n" not in str(done.exception)
    assert list_results(tmp_path) == []


@pytest.mark.parametrize("speedup", [None, {}, [], {"median": "9", "ci_low": 8, "ci_high": 10}, {"median": 9}])
def test_a_result_whose_speed_up_lacks_a_number_makes_no_claim(tmp_path, speedup):
    flawed = {**BASES[0], "comparison": {**BASES[0]["comparison"], "speedup": speedup}}
    old, new = (a_file(tmp_path / name, json.dumps(each)) for name, each in (("old", BASES[0]), ("new", flawed)))
    done = CliRunner().invoke(app, ["compare", old, new])
    assert (done.exit_code, "makes no claim" in done.stdout) == (1, True)


def test_no_escape_sequence_of_a_result_reaches_the_terminal(tmp_path):
    hostile = a_ttft_result(5, label="\x1b]0;owned\x07", warnings=["\x1b[2Jcleared", "\x9b31m"])
    hostile["arms"]["\x1b[8mhidden"] = hostile["arms"]["cold"]
    done = CliRunner().invoke(app, ["report", a_file(tmp_path / "run", json.dumps(hostile))])
    assert done.exit_code == 0
    assert not {"\x1b", "\x07", "\x9b"} & set(done.output)
    assert r"\x1b[2Jcleared" in done.output


@pytest.mark.parametrize(
    ("field", "value", "typed"),
    [
        ("prepare", "touch /tmp/owned", "--prepare 'touch /tmp/owned'"),
        ("base_url", ("http://a.example", "http://b.example"), "--base-url http://a.example"),
        ("model", "large", "--model large"),
    ],
)
def test_what_a_result_would_run_or_contact_must_be_given_again(topology, tmp_path, field, value, typed):
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, Engines(fails_after=9))
    left = read_result(tmp_path)
    write_result(tmp_path / RESULT, {**left, "options": {**left["options"], field: value}})
    for chosen in (OPTIONS, OPTIONS.model_copy(update={field: "another"})):
        with pytest.raises(ConfigError) as caught:
            resume_run(tmp_path, chosen)
        assert typed in str(caught.value)
    options, _ = resume_run(tmp_path, OPTIONS.model_copy(update={field: value}))
    assert getattr(options, field) == value


def test_an_option_that_the_run_did_not_begin_with_is_not_added_to_it(topology, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, Engines(fails_after=9))
    with pytest.raises(ConfigError, match="without --prepare"):
        resume_run(tmp_path, OPTIONS.model_copy(update={"prepare": "sync"}))


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
def test_options_that_no_command_line_takes_are_not_taken_from_a_result(topology, tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path, Engines(fails_after=9))
    left = read_result(tmp_path)
    write_result(tmp_path / RESULT, {**left, "options": {**left["options"], **change}})
    with pytest.raises(ConfigError, match="cannot be resumed"):
        resume_run(tmp_path, OPTIONS)


def test_reports_stay_in_the_folder_of_their_result(tmp_path):
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    run.mkdir()
    arms = {"../../up": {}, "/abs/olute": {}, "..": {}, "": {}, "a\0b": {}, "x" * 5000: {}}
    (elsewhere / "file").write_text("kept")
    (run / ".report.md.partial").symlink_to(elsewhere / "file")
    write_reports(report_files(a_frame("ttft", arms=arms)), run)
    assert (elsewhere / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "run"]
    assert {path.parent for path in run.rglob("*.json")} == {run / "arms"}


def test_a_link_in_the_place_of_the_folder_of_arms_is_not_followed(tmp_path):
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    run.mkdir()
    (run / "arms").symlink_to(elsewhere)
    with pytest.raises(ResultError, match="is a link"):
        write_reports(report_files(a_frame("ttft", arms={"cold": {}})), run)
    assert list(elsewhere.iterdir()) == []


def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / RESULT)
    with pytest.raises(ConfigError, match="not a file"):
        read_result(tmp_path / "run")
    assert list_results(tmp_path) == []
