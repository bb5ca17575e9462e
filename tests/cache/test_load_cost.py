import os

import pytest

from cache.load_cost import decryption_seconds, in_page_cache, kv_files, time_load


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "model@0" / f"{number}.data" for number in range(20)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"kv" * 5000)
    return frozenset(paths)


def test_the_files_of_a_namespace_are_found_wherever_they_lie(files, tmp_path):
    (tmp_path / "fingerprint.json").write_text("{}")
    assert kv_files(tmp_path) == files


def test_a_folder_that_does_not_exist_has_no_files(tmp_path):
    assert kv_files(tmp_path / "none") == frozenset()


@pytest.mark.parametrize("encrypted", [True, False])
def test_every_byte_is_read_and_decrypted_if_it_was_encrypted(files, encrypted):
    cost = time_load(files, encrypted=encrypted)
    assert cost.loaded_bytes == 20 * 10_000
    assert cost.read > 0
    assert (cost.decryption > 0) is encrypted


def test_without_files_or_with_one_that_is_gone_or_empty_nothing_is_measured(files, tmp_path):
    assert time_load([], encrypted=True) is None
    assert time_load([*files, tmp_path / "gone.data"], encrypted=True) is None
    (tmp_path / "empty.data").touch()
    assert time_load([*files, tmp_path / "empty.data"], encrypted=True) is None


def test_files_that_are_larger_than_the_buffers_take_turns_with_one():
    assert decryption_seconds([2**20] * 3, buffer_bytes=1) > 0


def test_files_that_were_just_written_are_in_the_page_cache_and_what_cannot_be_known_is_not(files, tmp_path):
    assert in_page_cache(files)
    assert not in_page_cache([])
    assert not in_page_cache([*files, tmp_path / "gone.data"])


def test_a_file_that_was_dropped_from_the_page_cache_is_not_found_there(files):
    [first, *_] = files
    with first.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert not in_page_cache(files)
