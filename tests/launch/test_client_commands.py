"""What `ask`, `chat` and `bench` are given is read before a container is started."""

from pathlib import Path

import pytest
import typer

from bench.__main__ import app as benchmarks
from config.errors import ConfigError
from engines.__main__ import app as engines
from launch.client_commands import PATH_OPTIONS, check_paths, parse_options


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
    command, values = parse_options(benchmarks, "./arena bench", given)
    assert command == name
    assert {option: values[option] for option in found} == found


def test_a_value_that_looks_like_an_option_is_no_file_to_look_at():
    words = ["chat", "--prompt", "--image", "--image=x.png", "-c", "single-image"]
    _, values = parse_options(engines, "./arena", words)
    assert (values["prompt"], *values["image"]) == ("--image", "x.png")


def test_wrong_usage_and_help_need_no_container(capsys):
    with pytest.raises(Exception, match="--nope") as refused:
        parse_options(benchmarks, "./arena bench", ["ttft", "--nope"])
    with pytest.raises(typer.Exit) as left:
        parse_options(benchmarks, "./arena bench", ["ttft", "--help"])
    assert (refused.value.exit_code, left.value.exit_code) == (2, 0)
    assert "./arena bench ttft" in capsys.readouterr().out


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": ("a.png", "b/c.png")},
        {"audio": ["data:audio/wav;base64,AA=="], "context": None},
        {"context": Path("a.txt"), "prompt": "/etc/passwd", "json_file": "-"},
    ],
)
def test_files_in_the_callers_folder_are_visible(tmp_path, values):
    check_paths(values, tmp_path)
    check_paths({"image": [str(tmp_path / "a.png")]}, tmp_path)


@pytest.mark.parametrize("option", ["image", "video", "audio", "context", "result_dir", "json_file"])
def test_a_file_elsewhere_is_refused(tmp_path, option):
    assert option in PATH_OPTIONS
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "here" / "ring").symlink_to("ring")
    for named in ("../a.png", f"{tmp_path}/a.mp4", "link.png", "/a", "ring", "a" * 5000 + "/../../b"):
        with pytest.raises(ConfigError, match="go to its folder, or copy it here"):
            check_paths({option: [named]}, tmp_path / "here")


def test_an_address_is_refused_unless_its_host_is_one_that_engines_fetch_from(tmp_path):
    check_paths({"audio": ["http://In.test/a.wav"]}, tmp_path, {"in.test"})
    for address in ("https://out.test/a.wav", "http://[::1/a.wav"):
        with pytest.raises(ConfigError):
            check_paths({"audio": [address]}, tmp_path, {"in.test"})
