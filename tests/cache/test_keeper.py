import json
import os
import shutil
import time
from collections import namedtuple

import pytest

from cache.keeper import Keeper, keep_for_ever
from cache.volume_files import UNFINISHED_S, VolumeFile, delete, files_of
from client.volume_use import DISK_FULL, GIB, REPORT, STALE_S, VolumeUse, describe_use

Disk = namedtuple("Disk", "total free")
MIB = 2**20
LONG_AGO = time.time() - 10 * UNFINISHED_S


class Volume:
    """A volume in a folder of the test, on a disk of 1 GiB with nothing else on it, unless `others` take some."""

    def __init__(self, path):
        self.path, self.others = path, 0
        path.mkdir()

    def namespace(self, name):
        folder = self.path / name
        folder.mkdir()
        (folder / "fingerprint.json").write_text("{}")
        (folder / "key-id").write_text("0")
        return folder

    def files(self):
        return {str(file.relative_to(self.path)) for file in self.path.rglob("*") if file.is_file()} - {REPORT}

    def free_space(self, _):
        used = sum((self.path / file).stat().st_size for file in self.files())
        return Disk(GIB, GIB - used - self.others)

    def use(self):
        return VolumeUse.read(self.path, free_space=self.free_space)

    def keeper(self, max_mib=0):
        return Keeper(self.path, max_mib / 1024, free_space=self.free_space)


@pytest.fixture
def volume(tmp_path):
    return Volume(tmp_path / "kv")


def store(folder, name, used, mib=1):
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.truncate(file, mib * MIB)
    os.utime(file, (used, used))


def test_what_was_not_used_for_longest_goes_first_whatever_its_namespace(volume):
    old, new = volume.namespace("old"), volume.namespace("new")
    for number in range(10):
        store(new if number % 2 else old, f"{number}.data", LONG_AGO + number)
    kept = {f"{folder.name}/{name}" for folder in (old, new) for name in ("fingerprint.json", "key-id")}
    deleted = volume.keeper(max_mib=6).keep()
    assert (deleted.files, deleted.total_bytes) == (5, 5 * MIB)  # one more than needed: the margin
    assert volume.files() == kept | {f"{'new' if n % 2 else 'old'}/{n}.data" for n in range(5, 10)}


def test_below_the_limit_nothing_is_deleted_over_any_number_of_looks(volume):
    store(volume.namespace("a"), "1.data", LONG_AGO, mib=6)
    before, keeper = volume.files(), volume.keeper(max_mib=6)
    assert [keeper.keep().files for _ in range(3)] == [0, 0, 0]
    assert volume.files() == before


def test_the_limit_holds_over_restarts_and_counts_what_others_have_stored(volume):
    folder = volume.namespace("a")
    for number in range(20):
        store(folder, f"{number}.data", LONG_AGO + number)
        volume.keeper(max_mib=8).keep()
        assert sum((folder / file).stat().st_size for file in os.listdir(folder)) <= 8 * MIB + 10
    assert (folder / "19.data").exists()


def test_space_that_others_fill_is_made_free_again_and_said_if_that_is_not_enough(volume):
    store(volume.namespace("a"), "1.data", LONG_AGO, mib=100)
    keeper = volume.keeper(max_mib=200)
    keeper.keep()
    assert keeper.limits.min_free_bytes == GIB // 20
    volume.others = GIB - 120 * MIB
    assert keeper.keep().files == 1
    use = volume.use()
    assert (use.files, use.total_bytes) == (0, 0)
    assert not use.is_disk_full
    assert DISK_FULL not in describe_use(use, time.time())
    volume.others = GIB - 10 * MIB
    keeper.keep()
    full = volume.use()
    assert full.is_disk_full
    assert DISK_FULL in describe_use(full, time.time())


def test_without_a_limit_half_of_what_is_free_and_stored_may_be_stored(volume):
    store(volume.namespace("a"), "1.data", LONG_AGO, mib=100)
    assert volume.keeper().limits.max_bytes == pytest.approx(GIB / 2, abs=10)  # the disk also has the fingerprint


def test_unfinished_files_are_deleted_when_their_writers_have_ended_and_count_for_nothing(volume):
    folder = volume.namespace("a")
    store(folder, ".tmp-a/1.data.tmp", LONG_AGO)
    store(folder, ".tmp-a/2.data.tmp", time.time())
    store(folder, ".fingerprint.json-1", LONG_AGO)
    assert volume.keeper(max_mib=1).keep().files == 2
    assert {"a/.tmp-a/2.data.tmp", "a/fingerprint.json", "a/key-id"} == volume.files()
    assert volume.use().files == 0


def test_folders_without_a_fingerprint_and_what_links_lead_to_are_left_alone(volume, tmp_path):
    store(volume.path / "photos", "1.jpg", LONG_AGO, mib=50)
    store(tmp_path / "elsewhere", "2.data", LONG_AGO, mib=50)
    folder = volume.namespace("a")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "file").symlink_to(tmp_path / "elsewhere" / "2.data")
    assert volume.keeper(max_mib=1).keep().files == 0
    assert (volume.path / "photos" / "1.jpg").exists()
    assert (tmp_path / "elsewhere" / "2.data").exists()


def test_a_namespace_that_is_a_link_and_a_folder_that_became_one_are_left_alone(volume, tmp_path):
    folder, elsewhere = volume.namespace("a"), tmp_path / "elsewhere"
    store(folder / "inner", "1.data", LONG_AGO)
    listed = list(files_of(folder))
    (folder / "inner").rename(elsewhere)
    (folder / "inner").symlink_to(elsewhere)
    folder.rename(tmp_path / "b")
    folder.symlink_to(tmp_path / "b")
    assert volume.keeper(max_mib=0.001).keep().files == 0
    assert delete(volume.path, listed).fault
    (tmp_path / "b").rename(tmp_path / "c")
    folder.unlink()
    (tmp_path / "c").rename(folder)
    assert delete(volume.path, listed).fault
    assert (elsewhere / "1.data").exists()


def test_a_folder_without_a_key_id_is_not_ours(volume):
    store(volume.path / "project", "fingerprint.json", LONG_AGO)
    store(volume.path / "project", "1.data", LONG_AGO)
    assert volume.keeper(max_mib=0.001).keep().files == 0


def test_a_trim_leaves_the_report_alone(volume):
    store(volume.namespace("a"), "1.data", LONG_AGO)
    volume.keeper(max_mib=8).keep()
    assert volume.keeper(max_mib=0.001).trim().files == 1
    assert volume.use().max_bytes == 8 * MIB


def test_nested_files_are_counted_as_those_of_vllms_offloading(volume):
    folder = volume.namespace("a")
    store(folder / "0a", "1.bin", LONG_AGO, mib=3)
    store(folder / "0b", "2.bin", LONG_AGO + 1, mib=3)
    assert volume.keeper(max_mib=4).keep().files == 1
    assert (folder / "0b" / "2.bin").exists()


@pytest.mark.parametrize("content", ["", "[]", "null", '{"files": -1}', '{"files": 1e999}', "\xff", "[" * 10_000])
def test_a_report_that_cannot_be_read_is_no_report(volume, content):
    (volume.path / REPORT).write_text(content, encoding="latin-1")
    assert volume.use() is None
    assert "not known" in describe_use(None, 0)


def test_a_report_says_what_was_found_and_when_it_is_too_old(volume):
    store(volume.namespace("a"), "1.data", LONG_AGO, mib=3)
    volume.keeper(max_mib=512).keep()
    use = volume.use()
    assert (use.files, use.total_bytes, use.max_bytes) == (1, 3 * MIB, GIB // 2)
    assert "minutes ago" not in describe_use(use, use.checked_s + STALE_S - 1)
    assert "minutes ago" in describe_use(use, use.checked_s + STALE_S + 1)
    assert json.loads((volume.path / REPORT).read_text())["files"] == 1


def test_a_file_that_cannot_be_deleted_is_said_and_does_not_keep_the_others(volume):
    folder = volume.namespace("a")
    for name in ("1.data", "2.data", "3.data"):
        store(folder, name, LONG_AGO)
    files = [VolumeFile(str(folder), 9, LONG_AGO, True), *files_of(folder)]  # a folder is no file
    deleted = delete(volume.path, files, enough=3 * MIB)
    assert (deleted.files, str(folder) in deleted.fault) == (3, True)


class Ended(Exception):
    """What a test ends the endless loop with."""


def test_a_volume_that_cannot_be_written_is_said_once_and_tried_again(volume):
    keeper, said, pauses = volume.keeper(max_mib=1), [], []

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            shutil.rmtree(volume.path)
        if len(pauses) == 4:
            volume.path.mkdir()
            store(volume.namespace("a"), "1.data", LONG_AGO, mib=2)
        if len(pauses) == 6:
            raise Ended

    with pytest.raises(Ended):
        keep_for_ever(keeper, said.append, wait)
    assert len(said) == 2
    assert "cannot be written" in said[0]
    assert "deleted 1 files" in said[1]
    assert min(pauses) >= 5
