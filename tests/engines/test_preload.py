"""Forks of a preloader, with a small stand-in for vLLM and a module of the standard library."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import until

from config.paths import ROOT
from engines.forked import SIGNALS

pytestmark = pytest.mark.slow

MODULE = "colorsys"  # small, and imported by nothing else
# spawns two processes, as vLLM does its engine core; each prints whether it began with the module
SERVER = f"""#!{sys.executable}
import json, multiprocessing, os, signal, sys, time

def show(role):
    facts = dict(role=role, has={MODULE!r} in sys.modules, pid=os.getpid(), parent=os.getppid(), group=os.getpgrp())
    facts |= dict(argv=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ), path=sys.path[0])
    print(json.dumps(facts), flush=True)

def spawned(connection):
    show("spawned")
    connection.send("sent through an inherited descriptor")

if __name__ == "__main__":
    show("server")
    if sys.argv[1] == "spawn":
        os.environ["SET_BY_THE_SERVER"] = "1"
        for _ in range(2):
            ours, theirs = multiprocessing.Pipe()
            child = multiprocessing.get_context("spawn").Process(target=spawned, args=(theirs,))
            child.start()
            assert ours.recv() and not child.join() and child.exitcode == 0
    if sys.argv[1] == "wait":
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})  # one that comes before sigwait is not lost
        print("waits", flush=True)
        signal.sigwait({{signal.SIGTERM}})
        sys.exit(7)
    sys.exit(3)
"""


class Preloader:
    """A preloader, and the commands that were sent to it, in a folder of a test."""

    def __init__(self, folder):
        self.folder, self.socket, self.children = folder, folder / "preloader.sock", []
        (folder / "bin").mkdir()
        server = folder / "bin" / "server"
        server.write_text(SERVER)
        server.chmod(0o700)
        self.env = {"PATH": f"{folder / 'bin'}:/bin", "PYTHONPATH": f"{ROOT}:{folder}"}

    def start(self, *modules):
        process = self._run("-m", "engines.preload", str(self.socket), *modules, stderr=subprocess.PIPE)
        until(lambda: self.socket.exists() or process.poll() is not None)
        return process

    def send(self, *arguments, **env):
        words = ("-S", "-m", "engines.forked", str(self.socket), "server", *arguments)
        return self._run(*words, stdout=subprocess.PIPE, **env)

    def _run(self, *words, stdout=None, stderr=None, **env):
        command, env = (sys.executable, *words), {**self.env, **env}
        child = subprocess.Popen(
            command, env=env, cwd=self.folder, stdout=stdout, stderr=stderr, text=True, process_group=0
        )
        self.children.append(child)
        return child


@pytest.fixture
def preloader(tmp_path):
    preloader = Preloader(tmp_path)
    yield preloader
    for child in preloader.children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def facts(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def waiting(sender):
    """Reads the facts of a server that waits."""
    (line,) = facts(sender.stdout.readline())
    assert sender.stdout.readline() == "waits\n"
    return line


def test_a_fork_has_the_modules_and_all_else_as_after_exec(preloader):
    preloader.start(MODULE)
    forked = preloader.send("a", "b", ONLY_MINE="1")
    (fork,) = facts(forked.communicate(timeout=20)[0])
    preloader.socket.unlink()
    ordinary = preloader.send("a", "b", ONLY_MINE="1")
    (exec_,) = facts(ordinary.communicate(timeout=20)[0])
    assert (fork["has"], exec_["has"]) == (True, False)
    assert (forked.returncode, ordinary.returncode) == (3, 3)
    assert (fork["group"], exec_["group"]) == (forked.pid, ordinary.pid)
    for own in ("has", "pid", "parent", "group"):
        del fork[own], exec_[own]
    assert fork == exec_
    assert fork["env"]["ONLY_MINE"] == "1"


def test_the_first_process_that_a_fork_spawns_is_a_fork_as_well_and_the_next_a_new_interpreter(preloader):
    preloader.start(MODULE)
    sender = preloader.send("spawn")
    server, first, second = facts(sender.communicate(timeout=20)[0])
    assert sender.returncode == 3
    assert (server["has"], first["has"], second["has"]) == (True, True, False)
    for spawned in (first, second):
        assert spawned["env"]["SET_BY_THE_SERVER"] == "1"
        assert (spawned["parent"], spawned["group"]) == (server["pid"], sender.pid)
        assert {each: spawned[each] for each in ("argv", "cwd", "path")} == {
            each: server[each] for each in ("argv", "cwd", "path")
        }


def test_a_signal_reaches_the_fork_and_its_exit_code_comes_back(preloader):
    preloader.start()
    sender = preloader.send("wait")
    waiting(sender)
    sender.terminate()
    assert sender.wait(20) == 7


def test_the_sender_of_a_killed_fork_ends_by_the_same_signal(preloader):
    preloader.start()
    for number in (signal.SIGKILL, *SIGNALS[:1]):
        sender = preloader.send("wait" if number == signal.SIGKILL else "spawn")
        fork = json.loads(sender.stdout.readline())["pid"]
        os.kill(fork, number)
        sender.communicate(timeout=20)
        assert sender.returncode == -number


def test_forks_go_on_without_the_preloader_and_their_end_is_still_noticed(preloader):
    process = preloader.start()
    sender = preloader.send("wait")
    fork = waiting(sender)["pid"]
    process.kill()
    process.wait(20)
    assert sender.poll() is None
    os.kill(fork, signal.SIGTERM)
    assert sender.wait(20) == 1


@pytest.mark.parametrize(
    "module",
    ["import os; os._exit(1)", "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"],
)
def test_commands_run_all_the_same_if_the_preloader_fails(preloader, module):
    (preloader.folder / "fails.py").write_text(f"import time; time.sleep(0.5); {module}\n")
    preloader.start(MODULE, "fails")
    sender = preloader.send("a")
    assert [each["has"] for each in facts(sender.communicate(timeout=20)[0])] == [False]
    assert sender.returncode == 3


def test_a_module_that_cannot_be_imported_is_left_out(preloader):
    preloader.start("no_such_module", MODULE)
    assert [each["has"] for each in facts(preloader.send("a").communicate(timeout=20)[0])] == [True]


def test_a_sender_that_has_ended_before_the_imports_leaves_no_fork(preloader):
    (preloader.folder / "slow.py").write_text("import time; time.sleep(1)\n")
    process = preloader.start("slow")
    first = preloader.send("wait")
    until(lambda: psutil.Process(first.pid).net_connections("unix"))
    first.terminate()
    assert first.communicate(timeout=20)[0] == ""
    assert preloader.send("a").wait(20) == 3  # the first was answered before
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: not children.read_text())


def test_only_its_own_user_can_send_commands(preloader):
    preloader.start()
    assert stat.S_IMODE(preloader.socket.stat().st_mode) == 0o600
