import json
import os
import subprocess
import sys

import pytest

from config.run_state import read_pid, read_string_map, supervisord_pid
from config.settings import load_settings

DAMAGED = [b"[1]", b"null", b'"x"', b"7", b"\xff\xfe", b'{"UI_PORT": "70', b'{"UI_PORT": {"a": 1}}', b"[" * 100_000]


@pytest.fixture
def started(tmp_path):
    """As a supervisord: a process whose command line names the configuration, and its pid file."""
    run = tmp_path / "run"
    run.mkdir()
    command = [sys.executable, "-c", "print(flush=True); input()", str(run / "supervisord.conf")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # until Linux shows its command line
        (run / "supervisord.pid").write_text(f"{child.pid}\n")
        (run / "settings.json").write_text('{"UI_PORT": "7003", "ENGINES": "2"}')
        yield child
        child.kill()


def settings(home, dotenv, **given):
    (home / ".env").write_text(dotenv)
    return load_settings({"ARENA_HOME": str(home), **given}, home / ".env")[0]


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("dotenv", ["UI_PORT=7001\n", "UI_PORT=${\n"])
def test_a_running_stacks_settings_override_the_file_even_a_broken_one_but_not_the_environment(tmp_path, dotenv):
    found = settings(tmp_path, dotenv, ENGINES="4")
    assert (found.ui_port, found.engines) == (7003, 4)


def test_the_settings_of_a_killed_stack_do_not_count(tmp_path, started):
    started.kill()  # and not waited for: a zombie does not count either
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert settings(tmp_path, "UI_PORT=7001\n").ui_port == 7001


@pytest.mark.parametrize("content", [*DAMAGED, b'{"UI_PORT": "many"}'], ids=lambda content: repr(content[:12]))
@pytest.mark.usefixtures("started")
def test_a_damaged_record_counts_as_none(tmp_path, content):
    (tmp_path / "run" / "settings.json").write_bytes(content)
    assert settings(tmp_path, "").ui_port == 7860


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:12]))
def test_a_record_is_an_object_of_strings_whatever_the_file_holds(tmp_path, content):
    (tmp_path / "record").write_bytes(content)
    assert read_string_map(tmp_path / "record") == {}
    assert read_string_map(tmp_path / "none") == read_string_map(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"x", b"\xff", b"-1", b"0", b"9" * 5000, b"9" * 12])
def test_a_file_without_a_pid_names_no_process(tmp_path, content):
    (tmp_path / "pid").write_bytes(content)
    assert read_pid(tmp_path / "pid") == 0


def test_a_pid_that_another_process_uses_is_no_stack(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "supervisord.pid").write_text(json.dumps(os.getpid()))
    assert supervisord_pid(tmp_path) == 0
