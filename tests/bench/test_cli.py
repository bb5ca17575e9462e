import json

import pytest
from bench_rows import Engines, measure
from typer.testing import CliRunner

from bench.__main__ import app
from bench.multi_value_options import each_by_its_name
from config.errors import ConfigError, ResultError, StackError


def bench(*words, **env):
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


def refused(*words, **env):
    """What a wrong use is answered with; the front door prints it as one line and exits with 2."""
    error = bench(*words, **env).exception
    assert isinstance(error, ConfigError), repr(error)
    return str(error)


@pytest.fixture
def half(topology, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measure(topology, tmp_path / "half", Engines(fails_after=9))
    return tmp_path / "half"


@pytest.fixture
def whole(topology, tmp_path):
    measure(topology, tmp_path / "whole", Engines())
    return tmp_path / "whole"


def test_a_report_is_rendered_again_without_engines(whole):
    report = bench("report", whole)
    assert report.exit_code == 0
    assert "10.0 times sooner" in report.stdout
    assert "http:" not in (whole / "report.html").read_text()


def test_a_report_of_an_interrupted_run_says_so(half):
    report = bench("report", half)
    assert report.exit_code == 0
    assert "not complete" in report.stdout


def test_json_on_stdout_is_nothing_but_json(whole):
    assert json.loads(bench("report", whole, "--json", "-").stdout)["kind"] == "ttft"


def test_resuming_needs_to_know_where_and_what(half, whole, tmp_path):
    assert "name the folder" in refused("ttft", "--resume")
    assert "resume it with that" in refused("aa", "--resume", "--result-dir", half)
    assert "is complete" in refused("ttft", "--resume", "--result-dir", whole)
    assert "cannot be read" in refused("ttft", "--resume", "--result-dir", tmp_path / "none")


def test_a_result_is_not_written_over(whole):
    assert "--resume" in refused("ttft", "--result-dir", whole)


def test_wrong_options_are_told_with_the_right_ones(tmp_path):
    folder = ("--result-dir", tmp_path / "new")
    assert "KEY=VALUE" in refused("ttft", "--metadata", "gpu", *folder)
    assert "ttft:500" in refused("sweep", "--goodput", "fast", *folder)
    assert "two servers" in refused("ttft", "--base-url", "http://127.0.0.1:1", *folder)
    assert "image, images, video, audio" in refused("mm", "--modality", "smell", *folder)
    assert "WIDTHxHEIGHT" in refused("mm", "--image-size", "big", *folder)
    assert "3 lengths" in refused("storage", "--input-len", "600", *folder)
    assert "ENGINES=4" in refused("aa", *folder, ENGINES="2", ARENA_HOME=str(tmp_path))


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path):
    url = "http://ann:hush@127.0.0.1:1"
    said = refused("ttft", "--base-url", url, "--base-url", "http://127.0.0.1:2", "--result-dir", tmp_path / "new")
    assert "OPENAI_API_KEY" in said
    assert "hush" not in said
    assert not list((tmp_path / "new").iterdir())


def test_a_seed_below_zero_is_refused_before_anything_is_measured():
    assert bench("ttft", "--seed", "-1").exit_code == 2


def test_a_table_is_shown_even_where_nothing_can_be_written(whole):
    (whole / "report.md").mkdir(parents=True)
    report = bench("report", whole, "--json", whole / "result.json" / "below.json")
    assert "10.0 times sooner" in report.stdout
    assert isinstance(report.exception, ResultError)
    assert "times sooner" in bench("report", whole).stdout


@pytest.mark.parametrize(
    ("words", "spread"),
    [
        ("sweep --goodput ttft:500 tpot:50 --seed 1", "sweep --goodput ttft:500 --goodput tpot:50 --seed 1"),
        ("aa --metadata a=b c=d", "aa --metadata a=b --metadata c=d"),
        ("aa --metadata a=b --metadata c=d", "aa --metadata a=b --metadata c=d"),
        ("report results/1 --json -", "report results/1 --json -"),
    ],
)
def test_options_take_several_values_as_those_of_vllm_do(words, spread):
    assert each_by_its_name(words.split()) == spread.split()


def test_the_second_of_several_values_is_read_too(tmp_path):
    assert "ttft:500" in refused("sweep", "--goodput", "ttft:1", "fast", "--result-dir", tmp_path / "new")
    assert "--metadata gpu" in refused("ttft", "--metadata", "a=b", "gpu", "--result-dir", tmp_path / "new")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://"])
def test_what_is_no_address_is_refused(url, tmp_path):
    assert "http://host:port" in refused("ttft", "--base-url", url, "--base-url", url, "--result-dir", tmp_path / "new")


@pytest.mark.parametrize(
    "command", ["ttft", "mm", "aa", "storage", "sweep", "decode", "verify", "peer", "report", "compare"]
)
def test_every_command_explains_itself(command):
    shown = bench(command, "--help")
    assert shown.exit_code == 0
    assert "?" in shown.stdout or "engine" in shown.stdout


@pytest.mark.parametrize("kind", ["ttft", "mm", "aa", "decode", "sweep", "verify"])
def test_where_nothing_runs_the_next_step_is_to_start_it(tmp_path, kind):
    nowhere = {"ENGINE_URL": "http://127.0.0.1:9", "ARENA_HOME": str(tmp_path), "OPENAI_API_KEY": "k"}
    error = bench(kind, "--result-dir", tmp_path / "new", **nowhere).exception
    assert isinstance(error, StackError)
    assert "./arena up" in str(error)
    assert "OPENAI_API_KEY" not in str(error)


def test_an_extra_body_is_for_servers_of_others(tmp_path):
    assert "--base-url" in refused("ttft", "--extra-body", "{}", "--result-dir", tmp_path / "new")
