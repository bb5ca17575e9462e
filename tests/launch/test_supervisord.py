"""A real supervisord with tiny programs: what it must do for engines, without engines."""

import json
import os
import signal
import stat
import sys
import time

import psutil
import pytest
from launch.orphans import is_alive
from launch.supervisord_config import SupervisedProgram, render_config

from config.errors import StackError
from config.paths import ROOT
from launch.processes import last_log_line, start_lock
from launch.supervisord import Supervisor

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# as vLLM's API server: a child in the same group that outlives a killed parent
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(601)'])",
)


def until(condition, within=20.0):
    """Waits for an event of another process, which nothing here can be woken by."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path / "run")
    yield supervisor
    supervisor.stop()


def start(supervisor, *programs):
    supervisor.start(programs, {**os.environ, "PYTHONPATH": str(ROOT)})
    for program in programs:
        supervisor.run(program.name)
    return until(lambda: pids(supervisor) if all(pids(supervisor).values()) else None)


def pids(supervisor):
    return {name: process.pid for name, process in supervisor.processes().items()}


def test_a_killed_service_is_started_again(supervisor):
    pid = start(supervisor, SupervisedProgram("sleeper", SLEEPER))["sleeper"]
    os.kill(pid, signal.SIGKILL)
    again = until(lambda: pids(supervisor)["sleeper"] not in (0, pid) and pids(supervisor)["sleeper"])
    assert is_alive(again)


def test_what_a_killed_service_leaves_behind_is_ended(supervisor):
    pid = start(supervisor, SupervisedProgram("parent", PARENT))["parent"]
    (child,) = until(lambda: psutil.Process(pid).children())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(child.pid))


def test_stop_ends_every_process(supervisor):
    pid = start(supervisor, SupervisedProgram("parent", PARENT))["parent"]
    (child,) = until(lambda: psutil.Process(pid).children())
    supervisor.stop()
    assert not is_alive(pid)
    assert not is_alive(child.pid)
    assert not supervisor.is_running()


def test_services_of_a_killed_supervisord_are_ended_by_the_next_start(supervisor, tmp_path):
    pid = start(supervisor, SupervisedProgram("sleeper", SLEEPER))["sleeper"]
    os.kill(int((tmp_path / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    until(lambda: not supervisor.is_running())
    again = start(supervisor, SupervisedProgram("sleeper", SLEEPER))["sleeper"]
    assert again != pid
    assert not is_alive(pid)


def test_a_stale_pid_file_of_somebody_elses_process_harms_nobody(supervisor, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "supervisord.pid").write_text(str(os.getsid(0)))
    assert not supervisor.is_running()
    supervisor.sweep()
    assert is_alive(os.getpid())


ODD = {"QUOTED": "'\"", "PLACEHOLDER": "100%(here)s", "COMMENT": "a ;b #c", "ESCAPE": "\\n", "NOT_UTF8": "\udcff"}


def test_a_service_has_the_environment_that_it_is_given_and_no_other(supervisor, tmp_path):
    tell = "import json, os, sys, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(600)"
    supervisor.start(
        [SupervisedProgram("teller", (sys.executable, "-c", tell), ODD)], {"PATH": "/bin", "PYTHONPATH": str(ROOT)}
    )
    supervisor.run("teller")
    log = tmp_path / "logs" / "teller.log"
    said = until(lambda: log.is_file() and log.read_text())
    assert {key: value for key, value in json.loads(said).items() if key != "LC_CTYPE"} == {  # Python's own
        **ODD,
        "PATH": "/bin",
        "PYTHONPATH": str(ROOT),
    }


def test_supervisord_itself_has_no_more_than_that(supervisor, tmp_path):
    supervisor.start([SupervisedProgram("sleeper", SLEEPER)], {"PATH": "/bin", "PYTHONPATH": str(ROOT)})
    pid = int((tmp_path / "run" / "supervisord.pid").read_text())
    assert set(psutil.Process(pid).environ()) - {"LC_CTYPE"} == {"PATH", "PYTHONPATH", "ARENA_SERVICES"}


def test_what_services_are_started_with_is_for_its_owner_and_gone_with_them(supervisor, tmp_path):
    supervisor.start([SupervisedProgram("sleeper", SLEEPER, {"ONLY_MINE": "1"})], {"PATH": "/bin"})
    file = tmp_path / "run" / "services.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "ONLY_MINE" not in render_config(
        [SupervisedProgram("sleeper", SLEEPER, {"ONLY_MINE": "1"})], file, file, tmp_path
    )
    supervisor.stop()
    assert not file.exists()


def test_two_starts_at_once_are_refused(tmp_path):
    with start_lock(tmp_path), pytest.raises(StackError, match="another"), start_lock(tmp_path):
        pass


def test_the_lock_is_free_again_afterwards(tmp_path):
    with start_lock(tmp_path):
        pass
    with start_lock(tmp_path):
        pass


def test_a_dead_services_last_error_is_what_one_is_told(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("starting\nRuntimeError: no memory\nbye\n")
    assert last_log_line(log) == "RuntimeError: no memory"
    assert last_log_line(tmp_path / "none.log") == "it wrote nothing"
