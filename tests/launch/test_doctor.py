"""What is looked at before the stack is started as processes."""

import math
import re
import socket

import pytest

from config.paths import ROOT
from config.settings import Settings
from launch import doctor
from launch.check_result import GIB, CheckStatus


@pytest.mark.parametrize(
    ("gib", "status", "advice"),
    [
        (24, CheckStatus.GOOD, ""),
        (10, CheckStatus.BAD, "./arena up --engines 2"),
        (4, CheckStatus.BAD, "KV_CACHE_MEMORY_GB"),
    ],
)
def test_too_little_memory_for_four_engines_offers_two_and_for_two_names_what_to_turn_down(
    settings, gib, status, advice
):
    found = doctor.check_memory(settings, gib * GIB)
    assert (found.status, advice in found.advice) == (status, True)


def test_the_readme_promises_the_memory_that_doctor_asks_for(settings):
    promised = re.search(
        r"(\d+) GiB of memory \(`\./arena up --engines 2`: (\d+) GiB", (ROOT / "README.md").read_text()
    )
    needed = [doctor.memory_needed(settings), doctor.memory_needed(settings.model_copy(update={"engines": 2}))]
    assert [int(figure) for figure in promised.groups()] == [math.ceil(round(gib, 1)) for gib in needed]


def test_a_missing_libnuma_is_bad_with_the_command_that_brings_it():
    found = doctor.check_libnuma(find=lambda _: None)
    assert (found.status, "apt-get install libnuma1" in found.advice) == (CheckStatus.BAD, True)


@pytest.mark.parametrize(
    ("flags", "status"), [("sse2", CheckStatus.BAD), ("avx2", CheckStatus.NOTE), ("avx2 avx512f", CheckStatus.GOOD)]
)
def test_the_processor_is_judged_by_its_flags(flags, status):
    assert doctor.check_cpu(f"flags : {flags}", "x86_64").status is status


def test_a_taken_port_is_named_with_its_service_and_its_setting():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (found,) = doctor.check_ports({port: ("UI_PORT", "page")})
    assert (found.status, str(port) in found.fact, "page" in found.fact) == (CheckStatus.BAD, True, True)
    assert "UI_PORT" in found.advice


def test_a_volume_that_cannot_be_written_is_bad(tmp_path):
    found = doctor.check_volume(Settings.from_env({"ARENA_HOME": str(tmp_path), "KV_STORE_DIR": "/proc/kv"}))
    assert (found.status, "KV_STORE_DIR" in found.fact) == (CheckStatus.BAD, True)


def test_results_that_cannot_be_written_are_a_note_with_the_command_that_opens_them(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        assert doctor.check_results(folder).status is CheckStatus.GOOD
    found = doctor.check_results(tmp_path, may=lambda *_: False)
    assert (found.status, str(tmp_path) in found.advice) == (CheckStatus.NOTE, True)


def test_the_memory_and_the_ports_of_a_running_stack_are_not_missing(settings):
    stopped, running = (
        {found.subject for found in doctor.check_processes(settings, running=running)} for running in (False, True)
    )
    assert {"Python", "CPU", "libnuma", "memory", "disk", "KV volume", "results"} <= stopped
    assert ("stack" in running, running & {"port", "ports", "memory"}) == (True, set())
