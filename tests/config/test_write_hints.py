import errno
import os
from pathlib import Path

import pytest

from config.write_hints import host_path, unwritable_hint

MOUNTED = {"MOUNTED": "/kv=./.arena/kv:/results=/home/me/my results"}


def closed():
    return PermissionError(errno.EACCES, "Permission denied")


class Owned(type(Path())):
    """A folder of somebody else's, or of ours without its owner's right to write."""

    def stat(self, **_):
        real = super().stat()
        return os.stat_result((real.st_mode, 0, 0, 0, self.owner, 7, 0, 0, 0, 0))


def folder(path, owner):
    found = Owned(path)
    found.owner = owner
    return found


def test_a_folder_of_somebody_elses_is_given_away_as_the_host_has_it(tmp_path):
    us = f"{os.geteuid()}:{os.getegid()}"
    remedy = unwritable_hint(folder(tmp_path, 4321), closed(), "KV_STORE_DIR", {"MOUNTED": f"{tmp_path}=./my kv"})
    assert f"sudo chown -R {us} './my kv'" in remedy
    assert "4321:7" in remedy


def test_a_folder_of_ours_needs_no_other_owner(tmp_path):
    remedy = unwritable_hint(folder(tmp_path, os.geteuid()), closed(), "KV_STORE_DIR", {})
    assert f"chmod -R u+rwX {tmp_path}" in remedy
    assert "chown" not in remedy


def test_a_missing_folder_is_made_and_nothing_above_it_changes_its_owner(tmp_path):
    remedy = unwritable_hint(tmp_path / "kv", closed(), "KV_STORE_DIR", {})
    assert "sudo install -d" in remedy
    assert "chown" not in remedy


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR, errno.EIO])
def test_no_other_fault_is_the_owners(tmp_path, number):
    remedy = unwritable_hint(tmp_path, OSError(number, os.strerror(number)), "KV_STORE_DIR", {})
    assert "KV_STORE_DIR" in remedy
    assert "chown" not in remedy
    assert ("room" in remedy) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_what_is_not_mounted_is_named_as_it_is():
    assert host_path(Path("/kv/model"), MOUNTED) == "./.arena/kv/model"
    assert host_path(Path("/results"), MOUNTED) == "/home/me/my results"
    assert host_path(Path("/elsewhere"), MOUNTED) == host_path(Path("/elsewhere"), {}) == "/elsewhere"
