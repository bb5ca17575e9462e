"""`./arena cache ls | trim | rm`, without a stack."""

import os
import time

import pytest
from typer.testing import CliRunner

from cache.__main__ import app
from cache.volume import prepare_namespace
from config.errors import ConfigError
from config.settings import load_settings

VERSIONS = {"vllm": "0.32.0+cpu", "lmcache": "0.5.6"}


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A namespace with two files, and one of another model with one; returns their folders."""
    monkeypatch.setenv("ARENA_HOME", str(tmp_path))
    monkeypatch.setenv("MODEL", str(tmp_path / "small"))
    settings, _ = load_settings(os.environ)
    own = prepare_namespace(settings, VERSIONS)
    other = own.with_name("other-0123")
    other.mkdir()
    for name in ("fingerprint.json", "key-id"):
        (other / name).touch()
    for number, file in enumerate((other / "1.data", own / "1.data", own / "2.data")):
        file.touch()
        os.truncate(file, 2**20)
        os.utime(file, (time.time() - 100 + number,) * 2)
    return own, other


def run(*words):
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_ls_shows_the_size_and_the_files_of_each_namespace(volume):
    own, other = volume
    rows = [line.split()[:3] for line in run("ls").stdout.splitlines()]
    assert [own.name, "0.00", "2"] in rows
    assert [other.name, "0.00", "1"] in rows


def test_trim_deletes_what_was_not_used_for_longest(volume):
    own, other = volume
    assert run("trim", "--max-gb", "0.0021").exit_code == 0  # 2.15 MiB
    assert list(other.glob("*.data")) == []
    assert len(list(own.glob("*.data"))) == 2


def test_rm_deletes_what_is_stored_and_leaves_the_folder_for_servers_that_may_use_it(volume):
    own, other = volume
    assert "deleted 2 files" in run("rm", own.name).stdout
    assert {file.name for file in own.iterdir()} == {"fingerprint.json", "key-id"}
    assert (other / "1.data").exists()


@pytest.mark.usefixtures("volume")
@pytest.mark.parametrize("name", ["none", "..", "/etc", ""])
def test_rm_takes_names_of_namespaces_only(name):
    with pytest.raises(ConfigError, match="other-0123"):
        run("rm", name)


def test_a_volume_that_is_not_there_is_answered_with_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("KV_STORE_DIR", str(tmp_path / "none"))
    assert "0.00 GiB" in run("ls").stdout
    with pytest.raises(ConfigError, match="cannot be read"):
        run("trim")
    with pytest.raises(ConfigError, match="number"):
        run("trim", "--max-gb", "inf")
    assert run("trim", "--max-gb", "nan").exit_code == 2
