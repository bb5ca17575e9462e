import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from cache import bandwidth
from cache.bandwidth import NO_DEVICE, NOT_INSTALLED, FileLayout, FioFailed, filesystem, parse_report, remove_leftovers
from config.errors import ConfigError, StackError
from config.paths import ROOT
from launch.supervised import is_alive

TOTAL, CHUNK = 2**20, 2**16
FAKE_FIO = """#!{python}
import json, os, sys
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
with open("{log}", "a") as log:
    log.write(json.dumps(given) + "\\n")
if {refuses}:
    sys.exit("fio: Invalid argument: try setting direct=0\\nmore")
files = int(given["numjobs"]) * int(given["nrfiles"])
for number in range(files if given["rw"] == "write" else 0):
    open(str(number), "w").close()
moved = {{"io_bytes": files * int(given["filesize"]), "runtime": 250}}
print("note: a warning before the report")
print(json.dumps({{"fio version": "fio-3.33", "jobs": [{{"error": 0, given["rw"]: moved}}]}}))
"""
SLOW_FIO = """#!/bin/sh
touch 0.0
echo $$ >> "{log}"
[ ! -p "{log}.fifo" ] || echo begun > "{log}.fifo"
{then}
"""
on_a_disk = pytest.mark.skipif(filesystem(Path("/tmp")) in NO_DEVICE, reason="/tmp has no device behind it")


def measure(folder, progress=lambda _: None, total_bytes=TOTAL):
    return asyncio.run(bandwidth.measure_bandwidth(folder, CHUNK, progress, total_bytes=total_bytes))


def speeds(found):
    return [
        speed for each in (found.sequential, found.chunks) for speed in (each.write, each.read_cached, each.read_device)
    ]


@pytest.fixture
def volume(tmp_path):
    return tmp_path / "kv"


@pytest.fixture
def fio(tmp_path, monkeypatch):
    """Puts a stand-in for fio in front of the PATH, and returns the file where it writes down each of its runs."""

    def install(script, **words):
        path, log = tmp_path / "bin" / "fio", tmp_path / "runs"
        path.parent.mkdir()
        path.write_text(script.format(python=sys.executable, log=log, **words))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        return log

    return install


def test_without_fio_nothing_is_measured_and_the_result_says_what_to_install(volume, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = measure(volume)
    assert (found.tool, found.note) == ("fio", NOT_INSTALLED)
    assert {(speed.gb_per_s, speed.reason) for speed in speeds(found)} == {(None, NOT_INSTALLED)}
    assert not volume.exists()


@on_a_disk
def test_each_pattern_is_written_and_read_from_the_page_cache_and_past_it(volume, fio):
    log, seen = fio(FAKE_FIO, refuses="False"), []
    found = measure(volume, progress=lambda _: seen.extend(volume.iterdir()))
    runs = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(run["rw"], run["direct"], run["invalidate"]) for run in runs] == [
        ("write", "1", "1"),
        ("read", "0", "0"),  # brings the files into the page cache
        ("read", "0", "0"),
        ("read", "1", "1"),
    ] * 2
    assert [(run["numjobs"], run["bs"], run["ioengine"]) for run in runs[::4]] == [
        ("1", "1048576", "libaio"),
        ("8", "65536", "psync"),
    ]
    assert [speed.method for speed in speeds(found)[3:]] == [
        "fio psync, O_DIRECT + fsync",
        "fio psync, buffered",
        "fio psync, O_DIRECT",
    ]
    assert [speed.gb_per_s for speed in speeds(found)] == [pytest.approx(TOTAL / 0.25 / 1e9)] * 6
    assert {path.name[:7] for path in seen} == {".probe-"}
    assert list(volume.iterdir()) == []
    assert json.loads(json.dumps(asdict(found)))["filesystem"] == filesystem(volume)


@on_a_disk
def test_a_device_that_cannot_be_told_from_the_page_cache_has_no_number_but_a_reason(volume, fio):
    fio(FAKE_FIO, refuses='given["direct"] == "1"')
    found = measure(volume).chunks
    assert found.write.method == "fio psync, buffered + fsync"
    assert (found.read_cached.reason, found.read_device.gb_per_s) == (None, None)
    assert found.read_device.reason.endswith("(fio: Invalid argument: try setting direct=0)")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (FAKE_FIO, "fio: Invalid argument: try setting direct=0"),
        ("#!/no/such/interpreter", "fio cannot be run: No such file or directory"),
        ("#!/bin/false", "fio ended with exit code 1"),
        ("#!/bin/true", "fio's report cannot be read"),
    ],
)
def test_a_fio_that_fails_gives_its_reason_in_place_of_each_number(volume, fio, script, reason):
    fio(script, refuses="True")
    assert {(speed.gb_per_s, speed.reason) for speed in speeds(measure(volume))} == {(None, reason)}
    assert list(volume.iterdir()) == []


@pytest.mark.parametrize(
    "output",
    [
        "",
        "fio: no report",
        '{"jobs": [',
        "[1]",
        '{"jobs": []}',
        '{"jobs": "none"}',
        '{"jobs": [{"error": 0}]}',
        '{"jobs": [{"error": 22, "read": {"io_bytes": 4096, "runtime": 1}}]}',
        '{"jobs": [{"error": 0, "read": {"io_bytes": 4096, "runtime": 0}}]}',
        '{"jobs": [{"error": 0, "read": {"io_bytes": "many", "runtime": 1}}]}',
    ],
)
def test_a_report_without_a_number_is_a_failure_of_fio(output):
    with pytest.raises(FioFailed):
        parse_report(output, "read")


def test_chunks_are_whole_pages_and_every_worker_has_some():
    layout = FileLayout.chunks(0, 5_898_269)
    assert (layout.file_bytes, layout.workers * layout.files_each) == (5_898_240, 8)


@pytest.mark.slow
@on_a_disk
@pytest.mark.skipif(not shutil.which("fio"), reason="fio is not installed: apt-get install fio")
def test_the_real_fio_understands_what_it_is_asked_and_writes_no_two_equal_pages(volume):
    pages = []

    def look(step):
        if step == "files of one chunk: read from the device":
            whole = b"".join(path.read_bytes() for path in volume.glob(".probe-*/*"))
            pages.extend(whole[at : at + 4096] for at in range(0, len(whole), 4096))

    found = measure(volume, progress=look, total_bytes=2 * TOTAL)
    assert {(speed.moved_bytes, speed.reason) for speed in speeds(found)} == {(2 * TOTAL, None)}
    assert len(set(pages)) == len(pages) == 2 * TOTAL // 4096


def test_too_little_room_and_a_folder_that_cannot_be_made_are_errors_of_the_setting(volume, fio):
    fio(FAKE_FIO, refuses="False")
    with pytest.raises(ConfigError, match=r"MB free, and the measurement needs .* MB free"):
        measure(volume, total_bytes=2**60)
    assert list(volume.iterdir()) == []
    with pytest.raises(ConfigError, match="/proc/kv cannot be measured"):
        measure(Path("/proc/kv"))


@pytest.mark.skipif(filesystem(Path("/dev/shm")) != "tmpfs", reason="/dev/shm is no tmpfs here")
def test_memory_has_no_device_behind_it(fio):
    fio(FAKE_FIO, refuses="False")
    folder = Path("/dev/shm") / f"bandwidth-test-{os.getpid()}"
    found = measure(folder)
    folder.rmdir()
    assert found.filesystem == "tmpfs"
    assert found.chunks.read_cached.gb_per_s > 0
    assert (found.chunks.read_device.gb_per_s, found.chunks.read_device.reason) == (None, "tmpfs: memory is the device")


@pytest.fixture
def begun(tmp_path):
    """Waits for the first run of fio."""
    fifo = tmp_path / "runs.fifo"
    os.mkfifo(fifo)
    return fifo.read_text


def assert_ends(process):
    """A zombie has ended too: not every process 1 collects them."""
    psutil.wait_procs([process], timeout=5)
    assert not is_alive(process.pid)


def assert_nothing_is_left(volume, log):
    (pid,) = log.read_text().split()
    with suppress(psutil.NoSuchProcess):
        assert_ends(psutil.Process(int(pid)))
    assert list(volume.iterdir()) == []


def test_a_cancelled_measurement_ends_fio_and_leaves_no_file(volume, fio, begun):
    log = fio(SLOW_FIO, then="exec sleep 600")

    async def cancel():
        measuring = asyncio.create_task(bandwidth.measure_bandwidth(volume, CHUNK))
        await asyncio.to_thread(begun)
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring

    asyncio.run(cancel())
    assert_nothing_is_left(volume, log)


@pytest.mark.slow
def test_fio_and_its_files_do_not_outlive_a_bench_that_is_killed(volume, fio, begun):
    log = fio(SLOW_FIO, then="exec sleep 600")
    code = (
        "import asyncio, sys, pathlib; from cache.bandwidth import measure_bandwidth as m; "
        "asyncio.run(m(pathlib.Path(sys.argv[1]), 4096))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(volume)], cwd=ROOT) as bench:
        begun()
        children = psutil.Process(bench.pid).children()
        bench.send_signal(signal.SIGKILL)
    for child in children:
        assert_ends(child)
    assert_nothing_is_left(volume, log)


@pytest.mark.parametrize("then", ["kill -9 $$", "kill -INT $$", "exit 128"])
def test_a_fio_that_somebody_ended_ends_the_measurement(volume, fio, then):
    log = fio(SLOW_FIO, then=then)
    with pytest.raises(StackError, match="ended by a signal"):
        measure(volume)
    assert_nothing_is_left(volume, log)


def test_a_fio_that_takes_too_long_is_killed(volume, fio, monkeypatch):
    log = fio(SLOW_FIO, then="exec sleep 600")
    monkeypatch.setattr(bandwidth, "TIMEOUT_S", 0.2)
    with pytest.raises(StackError, match="too slow"):
        measure(volume)
    assert_nothing_is_left(volume, log)


def test_files_of_a_measurement_that_is_gone_are_removed_and_those_of_others_are_kept(tmp_path):
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


@pytest.mark.parametrize(("folder", "kind"), [("/srv/kv/model", "nfs4"), ("/srv/kvetch", "xfs"), ("/home", "ext4")])
def test_the_longest_and_last_mount_names_the_filesystem(folder, kind):
    mounts = [("/", "ext4"), ("/srv/kv", "autofs"), ("/srv/kv", "nfs4"), ("/srv", "xfs")]
    assert filesystem(Path(folder), mounts) == kind
    assert filesystem(Path(folder), []) == "unknown"
