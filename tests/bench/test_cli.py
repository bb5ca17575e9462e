import json

import pytest
from bench_results import a_result
from bench_rows import Engines, measure
from typer.testing import CliRunner

from bench import __main__ as commands
from bench.__main__ import app
from bench.cli_options import goodput_limits, key_values, modalities, pixels, repeat_names, shared_fields
from config.errors import ConfigError, ResultError, StackError


def bench(*words, **env):
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


def refused(*words, **env):
    """The message for wrong usage, which ends a command with exit code 2."""
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


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("ttft --metadata a=b gpu", "--metadata gpu has no value: write KEY=VALUE"),
        ("sweep --goodput ttft:1 fast", "ttft:500"),
        ("ttft --base-url http://127.0.0.1:1", "two servers"),
        ("ttft --extra-body {}", "--base-url"),
        ("mm --modality smell", "image, images, video, audio"),
        ("mm --image-size big", "WIDTHxHEIGHT"),
        ("storage --input-len 600", "3 lengths"),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_write(tmp_path, words, hint):
    assert hint in refused(*words.split(), "--result-dir", tmp_path / "new")


def test_the_arenas_benchmarks_take_all_four_engines(tmp_path):
    assert "ENGINES=4" in refused("aa", "--result-dir", tmp_path / "new", ENGINES="2", ARENA_HOME=str(tmp_path))


@pytest.mark.parametrize("text", ["896", "0x0", "-1x64", "32x33", "99999x99999", "²x²", ""])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError):
        pixels(text)


@pytest.mark.parametrize("text", ["ttft", "ttft:soon", "itl:5", ":500"])
def test_a_limit_that_says_nothing_is_refused(text):
    with pytest.raises(ConfigError):
        goodput_limits([text])


def test_values_are_read_as_they_are_meant():
    assert pixels("896x644") == (896, 644)
    assert goodput_limits(["ttft:500", "e2el:2e3"]) == {"ttft": 500, "e2el": 2000}
    assert key_values(["gpu=A100", "note=a=b"]) == {"gpu": "A100", "note": "a=b"}
    assert modalities(["audio", "image", "audio"]) == ("audio", "image")
    assert shared_fields({"seed": 3, "metadata": None, "prepare": None}) == {"seed": 3, "metadata": {}, "prepare": None}


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
    assert repeat_names(words.split()) == spread.split()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://"])
def test_what_is_no_address_is_refused(url, tmp_path):
    assert "http://host:port" in refused("ttft", "--base-url", url, "--base-url", url, "--result-dir", tmp_path / "new")


@pytest.mark.parametrize(
    "command", ["ttft", "mm", "aa", "storage", "budget", "sweep", "decode", "verify", "peer", "report", "compare"]
)
def test_every_command_explains_itself(command):
    shown = bench(command, "--help")
    assert shown.exit_code == 0
    assert "--json" in shown.stdout


@pytest.mark.parametrize("kind", ["ttft", "mm", "aa", "budget", "decode", "sweep", "verify"])
def test_where_nothing_runs_the_next_step_is_to_start_it(tmp_path, kind):
    nowhere = {"ENGINE_URL": "http://127.0.0.1:9", "ARENA_HOME": str(tmp_path), "OPENAI_API_KEY": "k"}
    error = bench(kind, "--result-dir", tmp_path / "new", **nowhere).exception
    assert isinstance(error, StackError)
    assert "./arena up" in str(error)
    assert "OPENAI_API_KEY" not in str(error)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ttft", {"comparison.verdict": "no claim"}),
        ("two_servers", {"comparison.verdict": "no claim"}),
        ("decode", {"comparison.verdict": "no claim"}),
        ("aa", {"comparison.verdict": "faster"}),
        ("mm", {"holds": False}),
        ("peer", {"comparison.verdict": "slower"}),
        ("storage", {"break_even.confirmed": []}),
        ("storage", {"break_even.confirmed": [{"holds": True}, {"holds": None}]}),
        ("budget", {"budgets.0.attributed_pct": 80}),
        ("budget", {"budgets": []}),
        ("sweep", {"cells.0.failed": 3}),
        ("verify", {"verify.agrees": False}),
    ],
)
def test_a_result_that_does_not_hold_ends_its_command_with_exit_code_1(monkeypatch, name, change):
    sound = {
        "aa": {"comparison.verdict": "not distinguishable"},
        "peer": {"comparison.verdict": "not distinguishable"},
        "storage": {"break_even.confirmed": [{"holds": True}]},
        "mm": {"holds": True},
        "verify": {"verify.agrees": True},
    }
    results = [a_result(name, sound.get(name)), a_result(name, change)]
    monkeypatch.setattr(commands, "run_benchmark", lambda *_: results.pop(0))
    kind = results[0].kind
    assert [bench(kind).exit_code, bench(kind).exit_code] == [0, 1]
