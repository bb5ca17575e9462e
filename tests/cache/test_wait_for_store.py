import asyncio
import os
from itertools import chain, repeat

import pytest
from fakes import a_reply

from cache import wait_for_store
from cache.wait_for_store import chunks_to_store, count_stored, last_change, wait_until_stored
from config.errors import StackError
from config.topology import KVFolder


@pytest.mark.parametrize(
    ("prompt", "cached", "chunks"), [(6938, 0, 27), (7000, 0, 27), (7000, 6912, 0), (1000, 512, 1), (255, 0, 0)]
)
def test_only_whole_chunks_that_were_computed_are_to_be_stored(prompt, cached, chunks):
    assert chunks_to_store(a_reply(prompt=prompt, cached=cached)) == chunks


def test_smaller_chunks_of_the_engine_make_more_to_store():
    assert chunks_to_store(a_reply(prompt=6784, chunk_size=64)) == 106
    assert chunks_to_store(a_reply(prompt=6784, cached=6720, chunk_size=64)) == 1


def waiting(topology, *counts, within=60.0):
    looks = iter(counts)

    async def stored(_cache):
        return next(looks)

    async def wait():
        await wait_until_stored(topology.cache("cache-a"), 100, 27, within, stored=stored)

    asyncio.run(wait())
    return list(looks)


def test_the_wait_ends_with_the_last_chunk(topology):
    assert waiting(topology, 100, 118, 127, 999) == [999]


def test_a_cache_server_that_was_started_anew_is_named_without_a_negative_count(topology):
    with pytest.raises(StackError, match="cache-a was restarted before it had stored 27 chunks"):
        waiting(topology, 118, 5)


def test_a_store_that_never_ends_is_reported_with_how_far_it_came(topology):
    with pytest.raises(StackError, match="cache-a stored 18 of 27 chunks"):
        waiting(topology, 118, within=-1)


# Without a cache server, the volume is watched for new files


@pytest.fixture
def quiet_at_once(monkeypatch):
    monkeypatch.setattr(wait_for_store, "QUIET_S", 0.0)


def waiting_for_files(tmp_path, *counts, chunks=27, within=60.0):
    looks = []

    async def stored(_folder):
        looks.append(next(seen))
        return looks[-1]

    seen = chain(counts, repeat(counts[-1]))
    asyncio.run(wait_until_stored(KVFolder(tmp_path, "lmcache"), 100, chunks, within, stored=stored))
    return looks


@pytest.mark.usefixtures("quiet_at_once")
def test_the_wait_goes_on_until_there_are_new_files(tmp_path):
    assert waiting_for_files(tmp_path, 100, 100, 104) == [100, 100, 104]


def test_the_wait_goes_on_while_further_files_appear(tmp_path, monkeypatch):
    monkeypatch.setattr(wait_for_store, "QUIET_S", 0.2)
    assert waiting_for_files(tmp_path, 101, 102, 103)[:4] == [101, 102, 103, 103]


def test_there_is_nothing_to_wait_for_if_no_whole_chunk_was_computed(tmp_path):
    assert waiting_for_files(tmp_path, 100, chunks=0) == []


@pytest.mark.usefixtures("quiet_at_once")
def test_files_that_never_appear_are_reported(tmp_path):
    with pytest.raises(StackError, match="no new file on the KV volume"):
        waiting_for_files(tmp_path, 100, within=-1)


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_finished_files_of_vllms_offloading_are_counted(tmp_path):
    files(tmp_path, "a_r0/fff/00_g0/one.bin", "a_r0/fff/01_g0/two.bin", "a_r0/fff/01_g0/three.bin.tmp", "a/config.json")
    assert asyncio.run(count_stored(KVFolder(tmp_path, "offloading"))) == 2


def test_a_file_of_lmcache_is_noticed_when_it_is_finished(tmp_path):
    def stored():
        return asyncio.run(count_stored(KVFolder(tmp_path, "lmcache")))

    assert stored() == 0
    files(tmp_path, "small-1/.tmp-a/one.data", "small-1/old.data")
    os.utime(tmp_path / "small-1", (1, 1))
    before = stored()
    files(tmp_path, "small-1/.tmp-a/two.data")
    assert stored() == before
    (tmp_path / "small-1/.tmp-a/two.data").rename(tmp_path / "small-1/two.data")
    assert stored() > before
    assert asyncio.run(count_stored(KVFolder(tmp_path / "missing", "lmcache"))) == 0


def test_files_of_lmcache_are_not_listed(tmp_path):
    files(tmp_path, "small-1/one.data", "small-2/two.data")
    listed = []

    def scan(folder):
        listed.append(folder)
        return os.scandir(folder)

    assert last_change(tmp_path, scan=scan)
    assert listed == [tmp_path]
