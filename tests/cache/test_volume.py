import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from cache.lmcache_command import lmcache_command
from cache.volume import (
    ENTRIES,
    FINGERPRINT,
    StoredChunks,
    bytes_per_token,
    check_writable,
    current_namespace,
    fingerprint,
    lmcache_storage_config,
    namespace_path,
    prepare_namespace,
    stored_chunks,
)
from config.errors import ConfigError
from config.recipe import find_recipe

VERSIONS = {"vllm": "0.32.0+cpu", "lmcache": "0.5.6"}
FOLDER = Path("/kv/small")


@pytest.fixture
def changed(settings):
    return lambda **values: settings.model_copy(update=values)


def test_the_namespace_is_made_with_what_it_stands_for_and_a_key_that_only_its_owner_reads(settings):
    folder = prepare_namespace(settings, VERSIONS)
    assert folder.parent == settings.kv_store_dir
    assert json.loads((folder / "fingerprint.json").read_text())["chunk_size"] == settings.chunk_size
    key = settings.kv_key_file.read_bytes()
    prepare_namespace(settings, VERSIONS)
    assert settings.kv_key_file.read_bytes() == key
    assert len(key) == 32
    assert stat.S_IMODE(settings.kv_key_file.stat().st_mode) == 0o600


def test_two_starts_at_once_agree_on_the_key(settings):
    def start(_):
        prepare_namespace(settings, VERSIONS)
        return settings.kv_key_file.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1


def test_a_key_inside_the_volume_another_key_and_a_volume_that_cannot_be_written_are_refused(settings, changed):
    with pytest.raises(ConfigError, match="inside the KV volume"):
        prepare_namespace(changed(kv_key_file=settings.kv_store_dir / "kv.key"), VERSIONS)
    with pytest.raises(ConfigError, match=r"/proc/kv.* cannot be written"):
        prepare_namespace(changed(kv_store_dir=Path("/proc/kv")), VERSIONS)
    prepare_namespace(settings, VERSIONS)
    settings.kv_key_file.write_bytes(b"another key, of 32 bytes exactly")
    with pytest.raises(ConfigError, match="another key"):
        prepare_namespace(settings, VERSIONS)


def test_a_full_volume_is_named(settings):
    def full(_path, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConfigError, match="No space left"):
        check_writable(settings.kv_store_dir, write=full)
    assert list(settings.kv_store_dir.iterdir()) == []


def test_sides_share_the_folder_but_not_the_place_for_unfinished_files(settings):
    a, b = (lmcache_storage_config(settings, side, FOLDER) for side in "ab")
    assert a["base_path"] == b["base_path"]
    assert a["relative_tmp_dir"] != b["relative_tmp_dir"]


def test_stored_files_are_authenticated_and_without_that_the_namespace_is_another(settings, changed, topology):
    argv = lmcache_command(topology.cache("cache-a"), settings, FOLDER).argv
    serde = json.loads(argv[argv.index("--l2-adapter") + 1])["serde"]
    assert (serde["type"], serde["master_key_path"]) == ("arena_aesgcm_3", str(settings.kv_key_file))
    open_ = changed(kv_serde="none")
    assert "serde" not in lmcache_storage_config(open_, "a", FOLDER)
    assert namespace_path(open_, VERSIONS) != namespace_path(settings, VERSIONS)


def test_kv_of_another_version_lies_in_another_namespace(settings):
    others = (VERSIONS | {package: "0.99.0"} for package in VERSIONS)
    assert len({prepare_namespace(settings, versions) for versions in (VERSIONS, *others)}) == 3


def test_kv_of_another_type_lies_in_another_namespace(changed):
    others = (changed(dtype=dtype) for dtype in ("bfloat16", "float16", "float32"))
    assert len({namespace_path(each, VERSIONS) for each in others}) == 3


def test_chunks_or_blocks_of_another_size_lie_in_another_namespace(changed):
    sizes = [(256, 32), (64, 32), (64, 64), (256, 0)]
    others = (changed(chunk_size=chunk, block_size=block) for chunk, block in sizes)
    assert len({namespace_path(each, VERSIONS) for each in others}) == len(sizes)


@pytest.mark.parametrize("model", ["folder", "owner/name"])
def test_other_weights_or_another_revision_under_the_same_name_get_another_namespace(changed, tmp_path, model):
    weights = tmp_path / ("model.safetensors" if model == "folder" else "hub/models--owner--name/refs/main")
    weights.parent.mkdir(parents=True, exist_ok=True)
    mine = changed(model=str(tmp_path) if model == "folder" else model, local_hf_home=tmp_path)
    namespaces = []
    for content in ("one", "two"):
        weights.write_text(content)
        namespaces.append(namespace_path(mine, VERSIONS))
    assert len(set(namespaces)) == 2


def test_a_chosen_revision_is_part_of_the_namespace_and_goes_before_the_cache(changed, tmp_path):
    chosen = changed(model="owner/name", local_hf_home=tmp_path, model_revision="a" * 40)
    assert fingerprint(chosen, VERSIONS)["weights"] == "a" * 40
    pinned = changed(model="llava-hf/llava-1.5-7b-hf")
    assert fingerprint(pinned, VERSIONS)["weights"] == find_recipe(pinned.model).revision


def test_who_only_looks_finds_the_namespace_that_a_cache_server_made_last(settings, changed):
    assert not current_namespace(settings).exists()
    older, newer = prepare_namespace(settings, VERSIONS), prepare_namespace(settings, VERSIONS | {"vllm": "0.99.0"})
    os.utime(older / FINGERPRINT, (1, 1))
    assert current_namespace(settings) == newer
    os.utime(newer / FINGERPRINT, (0, 0))
    assert current_namespace(settings) == older
    assert current_namespace(changed(kv_serde="none")) not in (older, newer)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"model": 1}', b"[" * 100_000])
def test_a_folder_of_others_on_the_volume_is_passed_over(settings, content):
    mine = prepare_namespace(settings, VERSIONS)
    other = settings.kv_store_dir / f"{mine.name.rpartition('-')[0]}-other"
    other.mkdir()
    (other / FINGERPRINT).write_bytes(content)
    assert current_namespace(settings) == mine


def test_a_chunk_that_is_deleted_while_sizes_are_read_is_passed_over(tmp_path):
    (tmp_path / "gone.data").symlink_to(tmp_path / "nowhere")
    assert bytes_per_token(tmp_path, 256) is None
    (tmp_path / "chunk.data").write_bytes(b"0" * 2560)
    assert bytes_per_token(tmp_path, 256) == 10
    assert bytes_per_token(tmp_path, 64) == 40


def test_unfinished_and_other_files_are_no_chunks(tmp_path):
    for name in (".tmp-a/one.data", "two.tmp", "fingerprint.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0")
    assert stored_chunks(tmp_path) == StoredChunks(files=0, total_bytes=0, largest_bytes=0, is_all=True)
    assert stored_chunks(tmp_path / "missing") == stored_chunks(tmp_path)


class Entries:
    """A folder with `count` chunk files that counts how many of its entries are looked at."""

    name = "chunk.data"
    st_size = 10

    def __init__(self, count):
        self.left, self.looked_at = count, 0

    def __call__(self, _folder):
        return nullcontext(self)

    def __iter__(self):
        return self

    def __next__(self):
        if self.looked_at == self.left:
            raise StopIteration
        self.looked_at += 1
        return self

    def stat(self):
        return self


def test_with_a_million_files_no_more_are_looked_at_than_with_a_thousand(tmp_path):
    thousand, million = Entries(ENTRIES), Entries(1_000_000)
    assert stored_chunks(tmp_path, scan=thousand) == StoredChunks(ENTRIES, 10 * ENTRIES, 10, is_all=True)
    assert stored_chunks(tmp_path, scan=million) == StoredChunks(ENTRIES, 10 * ENTRIES, 10, is_all=False)
    assert million.looked_at == ENTRIES + 1
