import errno
import os
from pathlib import Path

import pytest

from config.write_hints import host_path, unwritable_hint

MOUNTED = {"MOUNTED": "/kv=./.arena/kv:/results=/home/me/my results"}


class OwnedPath(type(Path())):
    """A folder that says to belong to the user `owner`."""

    def stat(self, **_):
        return os.stat_result((super().stat().st_mode, 0, 0, 0, self.owner, 7, 0, 0, 0, 0))


def hint(path, *, owner=0, number=errno.EACCES, **environ):
    path = OwnedPath(path)
    path.owner = owner
    return unwritable_hint(path, OSError(number, os.strerror(number)), "KV_STORE_DIR", environ)


def test_another_users_folder_changes_its_owner_by_the_hosts_path(tmp_path):
    remedy = hint(tmp_path, owner=4321, MOUNTED=f"{tmp_path}=./my kv")
    assert f"sudo chown -R {os.geteuid()}:{os.getegid()} './my kv'" in remedy
    assert "4321:7" in remedy


def test_a_folder_of_this_user_needs_no_other_owner_and_a_missing_one_is_made(tmp_path):
    own, missing = hint(tmp_path, owner=os.geteuid()), hint(tmp_path / "kv")
    assert f"chmod -R u+rwX {tmp_path}" in own
    assert "sudo install -d" in missing
    assert "chown" not in own + missing


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR, errno.EIO])
def test_no_other_fault_is_the_owners(tmp_path, number):
    remedy = hint(tmp_path, number=number)
    assert "KV_STORE_DIR" in remedy
    assert "chown" not in remedy
    assert ("room" in remedy) == (number in (errno.ENOSPC, errno.EDQUOT))


@pytest.mark.parametrize(
    ("inside", "outside"),
    [("/kv/model", "./.arena/kv/model"), ("/results", "/home/me/my results"), ("/elsewhere", "/elsewhere")],
)
def test_a_mounted_path_is_named_as_the_host_has_it(inside, outside):
    assert host_path(Path(inside), MOUNTED) == outside
    assert host_path(Path(inside), {}) == inside
