import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cache.bandwidth import measure_bandwidth
from cache.bandwidth_process import measure_in_process
from cache.fio_files import folder_prefix, remove_leftovers
from config.errors import ConfigError, StackError
from config.paths import ROOT

SLOW_FIO = """#!/bin/sh
touch 0.0
echo $$ >> "{log}"
[ ! -p "{log}.fifo" ] || echo begun > "{log}.fifo"
{then}
"""


def slow_fio(tmp_path, monkeypatch, then="exec sleep 600"):
    """A stand-in for fio in front of the PATH, and the file that it writes the pid of each of its runs to."""
    script, log = tmp_path / "bin" / "fio", tmp_path / "pids"
    script.parent.mkdir()
    script.write_text(SLOW_FIO.format(log=log, then=then))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return log


def assert_ends(process):
    psutil.wait_procs([process], timeout=5)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def assert_nothing_is_left(volume, log):
    (pid,) = log.read_text().split()
    with suppress(psutil.NoSuchProcess):
        assert_ends(psutil.Process(int(pid)))
    assert list(volume.iterdir()) == []


@pytest.fixture
def begun(tmp_path):
    """Waits for the first fio."""
    fifo = tmp_path / "pids.fifo"
    os.mkfifo(fifo)
    return fifo.read_text


def test_a_cancelled_probe_ends_fio_and_leaves_no_file(tmp_path, monkeypatch, begun):
    volume, log = tmp_path / "kv", slow_fio(tmp_path, monkeypatch)

    async def cancel():
        measuring = asyncio.create_task(measure_in_process(volume, 4096, lambda _: None))
        await asyncio.to_thread(begun)
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring

    asyncio.run(cancel())
    assert_nothing_is_left(volume, log)


def test_a_probe_does_not_outlive_the_bench_that_began_it(tmp_path, monkeypatch, begun):
    volume, log = tmp_path / "kv", slow_fio(tmp_path, monkeypatch)
    code = (
        "import asyncio, sys, pathlib; from cache.bandwidth_process import probe_apart as p; "
        "asyncio.run(p(pathlib.Path(sys.argv[1]), 4096, print))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(volume)], cwd=ROOT) as bench:
        begun()
        (child,) = psutil.Process(bench.pid).children()
        bench.send_signal(signal.SIGKILL)
    assert_ends(child)
    assert_nothing_is_left(volume, log)


def test_a_probe_that_is_killed_is_said_and_cleaned_up(tmp_path, monkeypatch):
    volume, log = tmp_path / "kv", slow_fio(tmp_path, monkeypatch, then="kill -9 $PPID; exec sleep 600")
    with pytest.raises(StackError, match="exit code -9"):
        asyncio.run(measure_in_process(volume, 4096, lambda _: None))
    assert_nothing_is_left(volume, log)


@pytest.mark.parametrize("then", ["kill -9 $$", "kill -INT $$", "exit 128"])
def test_a_fio_that_was_ended_is_not_replaced_by_another_way(tmp_path, monkeypatch, then):
    volume, log = tmp_path / "kv", slow_fio(tmp_path, monkeypatch, then=then)
    with pytest.raises(StackError, match="ended by a signal"):
        measure_bandwidth(volume, total_bytes=2**16, chunk_bytes=4096)
    assert len(log.read_text().split()) == 1
    assert list(volume.iterdir()) == []


def test_what_the_probe_refuses_is_refused_with_the_same_error():
    with pytest.raises(ConfigError, match="/proc/kv cannot be measured"):
        asyncio.run(measure_in_process(Path("/proc/kv"), 4096, lambda _: None))


@pytest.mark.parametrize("said", ["print('{')", "print(1)", "print('x' * 10**6)", "pass"])
def test_a_probe_that_says_nothing_of_use_is_an_error_of_ours(tmp_path, said):
    with pytest.raises(StackError):
        asyncio.run(measure_in_process(tmp_path, 4096, lambda _: None, (sys.executable, "-c", said)))


def test_files_of_a_probe_that_is_gone_are_swept_and_those_of_others_are_kept(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    host = socket.gethostname()
    names = [f".probe-{host}-{gone.pid}-a", f".probe-{host}-{os.getppid()}-b", ".probe-elsewhere-1-c", ".probe-old"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.0").touch()
    os.utime(tmp_path / ".probe-old", (0, 0))
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:3])


def test_the_files_of_a_process_are_its_own_to_sweep(tmp_path):
    (tmp_path / f"{folder_prefix()}x").mkdir()
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers(tmp_path, owned=True)
    assert list(tmp_path.iterdir()) == []
