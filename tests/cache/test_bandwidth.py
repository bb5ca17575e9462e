import json
import os
import resource
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from cache.bandwidth import NO_DEVICE, Bandwidth, filesystem, measure_bandwidth
from cache.fio import parse_report
from cache.fio_files import FileLayout, SyscallTool, ToolFailed
from cache.page_cache import drop_from_page_cache, resident_share
from config.errors import ConfigError

SMALL = {"total_bytes": 2**20, "chunk_bytes": 2**16}

FAKE_FIO = """#!{python}
import json, os, sys
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
with open("{log}", "a") as log:
    log.write(json.dumps(given) + "\\n")
if {refuses}:
    sys.exit("fio: Invalid argument: try setting direct=0")
names = [f"{{j}}.{{n}}" for j in range(int(given["numjobs"])) for n in range(int(given["nrfiles"]))]
if given["rw"] == "write":
    for name in names:
        with open(name, "wb") as file:
            file.write(bytes(int(given["filesize"])))
            file.flush()
            {sync}(file.fileno())
moved = {{"io_bytes": len(names) * int(given["filesize"]), "runtime": 250}}
print("note: a warning before the report")
print(json.dumps({{"fio version": "fio-3.33", "jobs": [{{"error": 0, given["rw"]: moved}}]}}))
"""


def without_fio(_name):
    return None


def fake_fio(folder, refuses="False", sync="os.fsync"):
    """A `which` that finds a stand-in for fio, and the file where the stand-in writes down what it was asked."""
    script, log = folder / "fio", folder / "fio.log"
    script.write_text(FAKE_FIO.format(python=sys.executable, log=log, refuses=refuses, sync=sync))
    script.chmod(0o755)
    return (lambda _name: str(script)), log


def speeds(bandwidth: Bandwidth):
    for pattern in (bandwidth.sequential, bandwidth.chunks):
        yield from (pattern.write, pattern.read_cached, pattern.read_device)


def needs_a_disk(folder):
    if (kind := filesystem(folder)) in NO_DEVICE:
        pytest.skip(f"{folder} lies on {kind}: {NO_DEVICE[kind]}")


@pytest.fixture
def volume(tmp_path):
    return tmp_path / "kv"


def test_every_speed_has_its_bytes_its_seconds_and_how_it_was_got(volume):
    needs_a_disk(volume)
    bandwidth = measure_bandwidth(volume, which=without_fio, **SMALL)
    assert (bandwidth.tool, bandwidth.note) == ("built-in", None)
    for speed in speeds(bandwidth):
        assert speed.gb_per_s == pytest.approx(speed.moved_bytes / speed.seconds / 1e9)
        assert speed.moved_bytes == 2**20
        assert speed.method != "none"


def test_what_the_probe_found_is_plain_json(volume):
    found = json.loads(json.dumps(asdict(measure_bandwidth(volume, which=without_fio, **SMALL))))
    assert found["chunks"]["write"]["method"] == "buffered + fsync"
    assert found["filesystem"] == filesystem(volume)


def test_the_cached_read_is_warm_and_the_device_read_is_cold(volume):
    needs_a_disk(volume)
    for pattern in (found := measure_bandwidth(volume, which=without_fio, **SMALL)).sequential, found.chunks:
        assert pattern.read_cached.resident > 0.9
        assert pattern.read_device.resident < 0.1


def test_chunks_are_whole_pages_and_every_worker_has_some():
    layout = FileLayout.chunks(0, 5_898_269, workers=8)
    assert (layout.file_bytes, len(layout.paths(Path()))) == (5_898_240, 8)


def test_files_are_as_large_as_laid_out_and_no_two_pages_are_alike(tmp_path):
    layout = FileLayout.chunks(2**20, 2**16, workers=8)
    SyscallTool().write(layout, tmp_path)
    content = b"".join(path.read_bytes() for path in layout.paths(tmp_path))
    assert len(content) == layout.total_bytes
    assert len({content[start : start + 4096] for start in range(0, len(content), 4096)}) == len(content) // 4096


def test_no_file_is_left_in_the_volume(volume):
    seen = []
    measure_bandwidth(volume, which=without_fio, progress=lambda _: seen.extend(volume.iterdir()), **SMALL)
    assert {path.name[:7] for path in seen} == {".probe-"}
    assert list(volume.iterdir()) == []


def test_ctrl_c_leaves_no_file_either(volume):
    def interrupt(step):
        if "device" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_bandwidth(volume, which=without_fio, progress=interrupt, **SMALL)
    assert list(volume.iterdir()) == []


def test_a_write_that_fails_is_named_and_leaves_no_file(volume):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(ConfigError, match=r"kv cannot be measured \(File too large\): free it up"):
            measure_bandwidth(volume, which=without_fio, **SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(volume.iterdir()) == []


def test_too_little_room_is_said_before_anything_is_written(volume):
    with pytest.raises(ConfigError, match=r"has 400 MB free and the probe wants 537 MB: free it up"):
        measure_bandwidth(volume, which=without_fio, free=lambda _: 400_000_000)
    assert list(volume.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(ConfigError, match="/proc/kv cannot be measured"):
        measure_bandwidth(Path("/proc/kv"), which=without_fio)


def test_fio_measures_writes_and_the_device_where_it_is_installed(volume, tmp_path):
    needs_a_disk(volume)
    which, log = fake_fio(tmp_path)
    bandwidth = measure_bandwidth(volume, which=which, **SMALL)
    assert (bandwidth.tool, bandwidth.note) == ("fio", None)
    assert bandwidth.chunks.write.method == "fio libaio, O_DIRECT + fsync"
    assert bandwidth.chunks.read_device.method == "fio libaio, O_DIRECT"
    assert bandwidth.chunks.read_device.gb_per_s == pytest.approx(2**20 / 0.25 / 1e9)
    assert bandwidth.chunks.read_cached.method == "buffered, read before"
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(a["rw"], a["numjobs"], a["bs"]) for a in asked] == [
        ("write", "1", "1048576"),
        ("read", "1", "1048576"),
        ("write", "8", "65536"),
        ("read", "8", "65536"),
    ]


def test_where_fio_is_refused_direct_it_reads_what_the_page_cache_has_dropped(volume, tmp_path):
    needs_a_disk(volume)
    which, _ = fake_fio(tmp_path, refuses='given["direct"] == "1"')
    bandwidth = measure_bandwidth(volume, which=which, **SMALL)
    assert bandwidth.tool == "fio"
    assert bandwidth.chunks.write.method == "fio libaio, buffered + fsync"
    assert bandwidth.chunks.read_device.method == "fio libaio, buffered, fadvise"


def test_a_device_that_cannot_be_told_from_the_page_cache_has_no_number_but_a_reason(volume, tmp_path):
    needs_a_disk(volume)
    which, _ = fake_fio(tmp_path, refuses='given["direct"] == "1"', sync="os.fstat")  # unwritten pages stay cached
    device = measure_bandwidth(volume, which=which, **SMALL).chunks.read_device
    assert device.gb_per_s is None
    assert device.resident > 0.5
    assert device.reason.endswith("try setting direct=0, and the page cache keeps the files")


def test_a_fio_without_libaio_uses_psync(volume, tmp_path):
    which, _ = fake_fio(tmp_path, refuses='given["ioengine"] == "libaio"')
    assert measure_bandwidth(volume, which=which, **SMALL).chunks.write.method == "fio psync, O_DIRECT + fsync"


def test_a_fio_that_fails_is_replaced_by_the_built_in_probe_which_says_so(volume, tmp_path):
    which, _ = fake_fio(tmp_path, refuses="True")
    bandwidth = measure_bandwidth(volume, which=which, **SMALL)
    assert bandwidth.tool == "built-in"
    assert bandwidth.note == (
        f"{tmp_path}/fio gave no result (fio: Invalid argument: try setting direct=0): measured by the built-in probe"
    )
    assert list(volume.iterdir()) == []


def test_a_fio_that_cannot_be_started_is_replaced_too(volume):
    bandwidth = measure_bandwidth(volume, which=lambda _: "/no/such/fio", **SMALL)
    assert bandwidth.tool == "built-in"
    assert "/no/such/fio cannot be run" in bandwidth.note


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
    with pytest.raises(ToolFailed, match="fio"):
        parse_report(output, "read")


@pytest.mark.skipif(not shutil.which("fio"), reason="fio is not installed: apt-get install fio")
def test_the_real_fio_understands_what_it_is_asked(volume):
    bandwidth = measure_bandwidth(volume, total_bytes=16 * 2**20, chunk_bytes=2**20)
    assert (bandwidth.tool, bandwidth.note) == ("fio", None)
    assert {speed.moved_bytes for speed in speeds(bandwidth) if speed.gb_per_s} == {16 * 2**20}


@pytest.mark.skipif(filesystem(Path("/dev/shm")) != "tmpfs", reason="/dev/shm is no tmpfs here")
def test_memory_has_no_device_behind_it():
    folder = Path("/dev/shm") / f"probe-test-{os.getpid()}"
    try:
        found = measure_bandwidth(folder, which=without_fio, **SMALL)
    finally:
        folder.rmdir()
    assert found.filesystem == "tmpfs"
    assert found.chunks.read_cached.gb_per_s > 0
    assert (found.chunks.read_device.gb_per_s, found.chunks.read_device.reason) == (None, "tmpfs: memory is the device")


def test_a_file_is_resident_after_it_was_read_and_less_so_after_it_was_dropped(tmp_path):
    needs_a_disk(tmp_path)
    path = tmp_path / "chunk"
    with path.open("wb") as file:
        file.write(os.urandom(2**20))
        os.fsync(file.fileno())
    path.read_bytes()
    assert resident_share([path]) == 1.0
    drop_from_page_cache([path])
    assert resident_share([path]) < 0.5


def test_the_residency_of_no_page_cannot_be_told(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    assert resident_share([]) is None
    assert resident_share([empty, tmp_path / "evicted meanwhile"]) is None


def test_a_file_that_is_gone_does_not_count(tmp_path):
    path = tmp_path / "chunk"
    path.write_bytes(bytes(8192))
    assert resident_share([tmp_path / "evicted meanwhile", path]) == 1.0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may see the pages of every file")
def test_the_residency_of_files_that_are_not_ours_cannot_be_told():
    assert resident_share([Path("/etc/hostname")]) is None


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/kv/model", "nfs4"),
        ("/srv/kvetch", "xfs"),
        ("/home", "ext4"),
    ],
)
def test_the_longest_and_last_mount_names_the_filesystem(folder, kind):
    mounts = [("/", "ext4"), ("/srv/kv", "autofs"), ("/srv/kv", "nfs4"), ("/srv", "xfs")]
    assert filesystem(Path(folder), mounts) == kind


def test_a_folder_under_no_mount_has_an_unknown_filesystem():
    assert filesystem(Path("/srv"), []) == "unknown"
