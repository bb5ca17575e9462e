"""A real supervisord with tiny programs: what it must do for engines, without engines."""

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from waiting import until

from config.errors import StackError
from config.paths import ROOT
from launch.stack import start_lock
from launch.supervised import is_alive
from launch.supervisord import SupervisedProgram, Supervisor, render_config

pytestmark = pytest.mark.slow

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# as vLLM's API server: a child in the same group that outlives a killed parent
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(601)'])",
)


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


def test_a_killed_service_is_started_again_and_what_it_left_behind_is_ended(supervisor):
    pid = start(supervisor, SupervisedProgram("parent", PARENT))["parent"]
    (child,) = until(lambda: psutil.Process(pid).children())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(child.pid))
    assert is_alive(until(lambda: pids(supervisor)["parent"] not in (0, pid) and pids(supervisor)["parent"]))


@pytest.mark.parametrize("killed", ["the sender", "the fork"])
def test_a_killed_fork_of_the_preloader_is_started_again_and_leaves_nothing_behind(supervisor, tmp_path, killed):
    """As an engine: supervisord knows the process that sent the command; the fork is in its process group."""
    script = tmp_path / "parent"
    script.write_text(f"#!{sys.executable}\n{PARENT[2]}\n")
    script.chmod(0o700)
    socket = tmp_path / "preloader.sock"
    preloader = SupervisedProgram("preloader", (sys.executable, "-m", "engines.preload", str(socket)))
    forked = SupervisedProgram("forked", (sys.executable, "-S", "-m", "engines.forked", str(socket), str(script)))
    supervisor.start((preloader, forked), {**os.environ, "PYTHONPATH": str(ROOT)})
    supervisor.run("preloader")
    until(socket.exists)
    supervisor.run("forked")
    sender = until(lambda: pids(supervisor)["forked"])
    before = until(lambda: len(found := members(sender)) == 4 and found)  # also the fork's child, and its reserved one
    (fork,) = (pid for pid in before if psutil.Process(pid).ppid() == pids(supervisor)["preloader"])
    os.kill(sender if killed == "the sender" else fork, signal.SIGKILL)
    again = until(lambda: pids(supervisor)["forked"] not in (0, sender) and pids(supervisor)["forked"])
    until(lambda: len(members(again)) == 4)
    assert not any(is_alive(pid) for pid in before)


def test_a_process_is_alive_while_it_replaces_itself_and_dead_when_it_has_ended(tmp_path):
    again = tmp_path / "again.py"  # calls exec 300 times
    again.write_text(
        "import os, sys\nleft = int(sys.argv[1])\n"
        "if left: os.execv(sys.executable, [sys.executable, '-S', '-E', sys.argv[0], str(left - 1)])\n"
    )
    child = subprocess.Popen([sys.executable, "-S", "-E", again, "300"])
    seen = [True]
    while child.poll() is None:
        seen.append(is_alive(child.pid))
    assert seen == sorted(seen, reverse=True)  # nobody who was dead is alive again
    assert not is_alive(child.pid)


def test_a_restarted_service_is_another_process_and_stop_ends_every_process(supervisor):
    first = start(supervisor, SupervisedProgram("parent", PARENT))["parent"]
    supervisor.restart("parent")
    pid = until(lambda: pids(supervisor)["parent"])
    (child,) = until(lambda: psutil.Process(pid).children())
    supervisor.stop()
    assert [is_alive(each) for each in (first, pid, child.pid)] == [False, False, False]
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


def members(group):
    """The members of a process group."""
    found = set()
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            found |= {pid} if os.getpgid(pid) == group else set()
    return found


ODD = {"QUOTED": "'\"", "PLACEHOLDER": "100%(here)s", "COMMENT": "a ;b #c", "ESCAPE": "\\n", "NOT_UTF8": "\udcff"}


def test_a_service_and_supervisord_have_the_environment_that_they_are_given_and_no_other(supervisor, tmp_path):
    show = "import json, os, sys, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(600)"
    common = {"PATH": "/bin", "PYTHONPATH": str(ROOT)}
    supervisor.start([SupervisedProgram("shows", (sys.executable, "-c", show), ODD)], common)
    supervisor.run("shows")
    log = tmp_path / "logs" / "shows.log"
    printed = json.loads(until(lambda: log.is_file() and log.read_text()))
    assert {key: value for key, value in printed.items() if key != "LC_CTYPE"} == ODD | common  # Python's own
    own = psutil.Process(int((tmp_path / "run" / "supervisord.pid").read_text())).environ()
    assert set(own) - {"LC_CTYPE"} == {*common, "ARENA_SERVICES"}


def test_what_services_are_started_with_is_for_its_owner_and_gone_with_them(supervisor, tmp_path):
    programs = [SupervisedProgram("sleeper", SLEEPER, {"ONLY_MINE": "1"})]
    supervisor.start(programs, {"PATH": "/bin"})
    file = tmp_path / "run" / "services.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "ONLY_MINE" not in render_config(programs, file, file, tmp_path)
    supervisor.stop()
    assert not file.exists()


def test_two_starts_at_once_are_refused_and_the_lock_is_free_again_afterwards(tmp_path):
    with start_lock(tmp_path), pytest.raises(StackError, match="another"), start_lock(tmp_path):
        pass
    with start_lock(tmp_path):
        pass
