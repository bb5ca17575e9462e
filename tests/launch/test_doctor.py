import math
import re
import socket
from pathlib import Path

import pytest
from launch.requirements import GIB

from config.settings import Settings
from launch import doctor
from launch.check_result import CheckStatus


def test_enough_memory_is_good(settings):
    assert doctor.memory(settings, 24 * GIB).verdict is CheckStatus.GOOD


def test_too_little_memory_for_four_engines_offers_two(settings):
    finding = doctor.memory(settings, 10 * GIB)
    assert finding.verdict is CheckStatus.BAD
    assert "--engines 2" in finding.advice


def test_too_little_memory_for_two_names_what_to_turn_down(settings):
    assert "KV_CACHE_MEMORY_GB" in doctor.memory(settings, 4 * GIB).advice


def test_the_readme_promises_the_memory_that_doctor_asks_for(settings):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    promised = re.search(r"(\d+) GiB of memory \(`\./arena up --engines 2`: (\d+) GiB", readme)
    assert promised
    needed = [doctor.memory_needed(settings), doctor.memory_needed(settings.model_copy(update={"engines": 2}))]
    assert [int(figure) for figure in promised.groups()] == [math.ceil(round(gib, 1)) for gib in needed]


def test_a_missing_libnuma_is_told_with_the_command_that_brings_it():
    finding = doctor.libnuma(find=lambda _: None)
    assert (finding.verdict, "apt-get install libnuma1" in finding.advice) == (CheckStatus.BAD, True)


@pytest.mark.parametrize(
    ("flags", "verdict"), [("sse2", CheckStatus.BAD), ("avx2", CheckStatus.NOTE), ("avx2 avx512f", CheckStatus.GOOD)]
)
def test_the_processor_is_judged_by_its_flags(flags, verdict):
    assert doctor.cpu(f"flags : {flags}", "x86_64").verdict is verdict


def test_a_taken_port_is_named_with_its_service_and_its_setting(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "UI_PORT": str(port)})
        (finding,) = [f for f in doctor.ports(settings) if str(port) in f.fact]
    assert "page" in finding.fact
    assert "UI_PORT" in finding.advice


def test_a_volume_that_cannot_be_written_is_bad(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "KV_STORE_DIR": "/proc/kv"})
    finding = doctor.volume(settings)
    assert finding.verdict is CheckStatus.BAD
    assert "KV_STORE_DIR" in finding.fact


def test_results_that_cannot_be_written_are_told_with_the_command_that_opens_them(tmp_path):
    assert doctor.results(tmp_path).verdict is doctor.results(tmp_path / "none").verdict is CheckStatus.GOOD
    finding = doctor.results(tmp_path, may=lambda *_: False)
    assert (finding.verdict, str(tmp_path) in finding.advice) == (CheckStatus.NOTE, True)


def test_a_running_stack_is_not_told_that_its_own_ports_are_taken(settings):
    subjects = [finding.subject for finding in doctor.check_machine(settings, running=True)]
    assert "stack" in subjects
    assert not {"port", "ports", "memory"} & set(subjects)
