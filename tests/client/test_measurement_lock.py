import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from client.measurement_lock import UNKNOWN, MeasurementLock
from config.paths import ROOT

HOLDS = (
    "import sys, pathlib, time; from client.measurement_lock import MeasurementLock\n"
    "with MeasurementLock(pathlib.Path(sys.argv[1])).held('bench ttft', lambda line: print(line, flush=True)):\n"
    "    print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "measurement.lock"


@contextmanager
def another_process(path):
    """It holds the lock, or waits for it; with the first line that it prints."""
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
        yield child, child.stdout.readline()
        child.kill()


def test_one_process_holds_it_and_says_what_it_measures_until_it_is_killed(path):
    lock = MeasurementLock(path)
    with another_process(path) as (process, line):
        assert line == "held\n"
        assert lock.attempt("a question") is None
        assert (lock.holder().what, lock.holder().pid) == ("bench ttft", process.pid)
    assert path.read_text()
    assert lock.holder() is None
    assert lock.attempt("a question") is not None


def test_a_waiting_process_says_for_what_and_ctrl_c_ends_the_waiting(path):
    with another_process(path), another_process(path) as (waiting, line):
        assert "waiting until bench ttft (since" in line
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(10)


def test_a_waiting_process_comes_next(path):
    first = MeasurementLock(path).attempt("one")
    lines, held = list[str](), threading.Event()

    def wait():
        with MeasurementLock(path).held("two", lambda line: (lines.append(line), first.release())):
            held.set()

    threading.Thread(target=wait).start()
    assert held.wait(10)
    assert "one" in lines[0]


def test_after_its_release_the_file_names_no_holder(path):
    lock = MeasurementLock(path)
    hold = lock.attempt("a question")
    assert lock.holder().what == "a question"
    hold.release()
    hold.release()
    assert (lock.holder(), path.read_bytes()) == (None, b"")


@pytest.mark.parametrize("written", [b"{", b"[1]", b'{"what": null}', b'{"what": 1, "since": "x", "pid": {}}', b"\xff"])
def test_a_holder_whose_name_cannot_be_read_holds_it_all_the_same(path, written):
    hold = MeasurementLock(path).attempt("a question")
    path.write_bytes(written)
    assert MeasurementLock(path).holder() == UNKNOWN
    hold.release()


def test_where_nothing_can_be_locked_that_is_said_once_and_work_goes_on(tmp_path):
    (tmp_path / "file").touch()
    lock, lines = MeasurementLock(tmp_path / "file" / "measurement.lock"), list[str]()
    with lock.held("bench ttft", lines.append):
        assert lock.holder() is None
    (line,) = lines
    assert str(lock.path) in line


def test_without_a_file_it_is_always_free():
    lock = MeasurementLock(None)
    assert lock.attempt("one") is not None
    assert lock.attempt("two") is not None
    assert lock.holder() is None


def test_another_user_can_lock_the_same_file(path):
    umask = os.umask(0o077)
    try:
        MeasurementLock(path).attempt("one").release()
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize(
    ("environ", "place"),
    [({"ARENA_HOME": "/h"}, "/h/run/measurement.lock"), ({"MEASUREMENT_LOCK": "/results/.l"}, "/results/.l")],
)
def test_its_place_is_the_stacks_own_or_what_containers_share(environ, place):
    assert str(MeasurementLock.of(environ).path) == place
