import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.lmcache_command import lmcache_command
from cache.volume import (
    FINGERPRINT,
    bytes_per_token,
    check_writable,
    current_namespace,
    fingerprint,
    lmcache_storage_config,
    namespace_path,
    prepare_namespace,
)
from config.errors import ConfigError
from config.recipe import find_recipe

VERSIONS = {"vllm": "0.32.0+cpu", "lmcache": "0.5.6"}
FOLDER = Path("/kv/small")


def test_the_namespace_is_made_with_what_it_stands_for(settings):
    folder = prepare_namespace(settings, VERSIONS)
    assert folder.parent == settings.kv_store_dir
    assert json.loads((folder / "fingerprint.json").read_text())["chunk_size"] == 256


def test_other_weights_under_the_same_name_get_another_namespace(settings, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights one")
    mine = settings.model_copy(update={"model": str(model)})
    first = namespace_path(mine, VERSIONS)
    (model / "model.safetensors").write_bytes(b"weights two")
    assert namespace_path(mine, VERSIONS) != first


def test_the_key_is_made_once_and_only_its_owner_reads_it(settings):
    prepare_namespace(settings, VERSIONS)
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


def test_a_key_inside_the_volume_is_refused(settings):
    inside = settings.model_copy(update={"kv_key_file": settings.kv_store_dir / "kv.key"})
    with pytest.raises(ConfigError, match="inside the KV volume"):
        prepare_namespace(inside, VERSIONS)


def test_a_volume_that_cannot_be_written_is_named(settings):
    with pytest.raises(ConfigError, match=r"/proc/kv.* cannot be written"):
        prepare_namespace(settings.model_copy(update={"kv_store_dir": Path("/proc/kv")}), VERSIONS)


def test_a_full_volume_is_named(settings):
    def full(_path, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConfigError, match="No space left"):
        check_writable(settings.kv_store_dir, write=full)
    assert list(settings.kv_store_dir.iterdir()) == []


def test_a_volume_written_with_another_key_is_refused_and_told_why(settings):
    prepare_namespace(settings, VERSIONS)
    settings.kv_key_file.write_bytes(b"another key, of 32 bytes exactly")
    with pytest.raises(ConfigError, match="another key"):
        prepare_namespace(settings, VERSIONS)


def test_sides_share_the_folder_but_not_the_place_for_unfinished_files(settings):
    a, b = lmcache_storage_config(settings, "a", FOLDER), lmcache_storage_config(settings, "b", FOLDER)
    assert a["base_path"] == b["base_path"]
    assert a["relative_tmp_dir"] != b["relative_tmp_dir"]


def test_stored_files_are_authenticated(settings, topology):
    command = lmcache_command(topology.cache("cache-a"), settings, FOLDER)
    config = json.loads(command.argv[command.argv.index("--l2-adapter") + 1])
    assert config["serde"]["type"] == "aesgcm"
    assert config["serde"]["master_key_path"] == str(settings.kv_key_file)


def test_without_authentication_the_namespace_is_another(settings):
    open_ = settings.model_copy(update={"kv_serde": "none"})
    assert "serde" not in lmcache_storage_config(open_, "a", FOLDER)
    assert namespace_path(open_, VERSIONS) != namespace_path(settings, VERSIONS)


def test_kv_of_another_version_lies_in_another_namespace(settings):
    folders = {
        prepare_namespace(settings, VERSIONS | {package: version})
        for package in VERSIONS
        for version in (VERSIONS[package], "0.99.0")
    }
    assert len(folders) == 3


def test_who_only_looks_finds_the_namespace_that_a_cache_server_made_last(settings):
    assert not current_namespace(settings).exists()
    older, newer = prepare_namespace(settings, VERSIONS), prepare_namespace(settings, VERSIONS | {"vllm": "0.99.0"})
    os.utime(older / FINGERPRINT, (1, 1))
    assert current_namespace(settings) == newer
    os.utime(newer / FINGERPRINT, (0, 0))
    assert current_namespace(settings) == older
    assert current_namespace(settings.model_copy(update={"kv_serde": "none"})) not in (older, newer)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"model": 1}', b"[" * 100_000])
def test_a_folder_of_others_on_the_volume_is_passed_over(settings, content):
    mine = prepare_namespace(settings, VERSIONS)
    other = settings.kv_store_dir / f"{mine.name.rpartition('-')[0]}-other"
    other.mkdir()
    (other / FINGERPRINT).write_bytes(content)
    assert current_namespace(settings) == mine


def test_a_chosen_revision_is_part_of_the_namespace_and_goes_before_the_cache(settings, tmp_path):
    hubs = settings.model_copy(update={"model": "owner/name", "local_hf_home": tmp_path, "model_revision": "a" * 40})
    assert fingerprint(hubs, VERSIONS)["weights"] == "a" * 40
    pinned = settings.model_copy(update={"model": "llava-hf/llava-1.5-7b-hf"})
    assert fingerprint(pinned, VERSIONS)["weights"] == find_recipe(pinned.model).revision


def test_another_revision_of_a_hubs_model_gets_another_namespace(settings, tmp_path):
    hubs = settings.model_copy(update={"model": "owner/name", "local_hf_home": tmp_path})
    revision = tmp_path / "hub" / "models--owner--name" / "refs" / "main"
    revision.parent.mkdir(parents=True)
    revision.write_text("one")
    first = namespace_path(hubs, VERSIONS)
    revision.write_text("two")
    assert namespace_path(hubs, VERSIONS) != first


def test_a_chunk_that_is_deleted_while_sizes_are_read_is_passed_over(tmp_path):
    (tmp_path / "gone.data").symlink_to(tmp_path / "nowhere")
    assert bytes_per_token(tmp_path) is None
    (tmp_path / "chunk.data").write_bytes(b"0" * 2560)
    assert bytes_per_token(tmp_path) == 10
