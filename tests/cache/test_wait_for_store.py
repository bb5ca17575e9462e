import asyncio

import pytest
from fakes import a_reply

from cache.wait_for_store import chunks_to_store, wait_until_stored
from config.errors import StackError


@pytest.mark.parametrize(
    ("prompt", "cached", "chunks"), [(6938, 0, 27), (7000, 0, 27), (7000, 6912, 0), (1000, 512, 1), (255, 0, 0)]
)
def test_only_whole_chunks_that_were_computed_are_to_be_stored(prompt, cached, chunks):
    assert chunks_to_store(a_reply(prompt=prompt, cached=cached)) == chunks


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
