import pytest
import typer

from bench.__main__ import app as benchmarks
from engines.__main__ import app as engines
from launch import option_values


@pytest.mark.parametrize(
    ("given", "name", "found"),
    [
        (["ttft", "--label", "report"], "ttft", {"label": "report", "base_url": ()}),
        (["ttft", "--label", "peer"], "ttft", {"label": "peer"}),
        (["ttft", "--label=--base-url"], "ttft", {"label": "--base-url", "base_url": ()}),
        (["ttft", "--label", "--base-url"], "ttft", {"label": "--base-url", "base_url": ()}),
        (["ttft", "--base-url=http://a", "--base-url", "http://b"], "ttft", {"base_url": ["http://a", "http://b"]}),
        (["ttft", "--metadata", "a=b", "report=c"], "ttft", {"metadata": ["a=b", "report=c"]}),
        (["report", "compare"], "report", {}),
    ],
)
def test_words_after_an_option_are_its_values(given, name, found):
    command, values = option_values.parse_options(benchmarks, "./arena bench", given)
    assert command == name
    assert {option: values[option] for option in found} == found


def test_a_value_that_looks_like_an_option_is_no_file_to_look_at():
    _, values = option_values.parse_options(
        engines, "./arena", ["chat", "--prompt", "--image", "--image=x.png", "-c", "single-image"]
    )
    assert (values["prompt"], *values["image"]) == ("--image", "x.png")


def test_wrong_usage_is_told_before_a_container_is_started():
    with pytest.raises(Exception, match="--nope") as refused:
        option_values.parse_options(benchmarks, "./arena bench", ["ttft", "--nope"])
    assert refused.value.exit_code == 2


def test_help_needs_no_container(capsys):
    with pytest.raises(typer.Exit) as left:
        option_values.parse_options(benchmarks, "./arena bench", ["ttft", "--help"])
    assert left.value.exit_code == 0
    assert "./arena bench ttft" in capsys.readouterr().out
