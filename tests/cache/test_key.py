import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from cache.key import KEY_BYTES, is_readable_by_others, read_key, write_once
from config.errors import ConfigError
from config.paths import ROOT


@contextmanager
def no_file_may_grow():
    """What a full disk does to a write, but with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_key_is_made_without_a_hard_link_and_nothing_lies_beside_it(tmp_path):
    code = """if True:
        import os, sys
        from pathlib import Path
        def refused(*_args, **_more): raise PermissionError(1, "Operation not permitted")
        os.link = os.symlink = os.chmod = os.chown = refused
        from cache.key import read_key
        read_key(Path(sys.argv[1]))
    """
    path = tmp_path / "key" / "kv.key"
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=True)
    assert [each.name for each in path.parent.iterdir()] == ["kv.key"]
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (KEY_BYTES, 0o600)


def test_a_key_that_cannot_be_written_leaves_no_file(tmp_path):
    path = tmp_path / "kv.key"
    with no_file_may_grow(), pytest.raises(ConfigError, match=r"cannot be made \(File too large\)"):
        read_key(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("kv.key", lambda path: path.write_bytes(b""), "holds 0 bytes"),
        ("kv.key", lambda path: path.write_bytes(b"short"), "holds 5 bytes"),
        ("kv.key", lambda path: path.mkdir(), os.strerror(errno.EISDIR)),
        ("kv.key", lambda path: path.symlink_to("/nowhere/at/all"), os.strerror(errno.ENOENT)),
        ("file/kv.key", lambda path: path.parent.touch(), os.strerror(errno.EEXIST)),
    ],
)
def test_what_is_no_key_is_said_with_the_reason(tmp_path, name, make, said):
    make(tmp_path / name)
    with pytest.raises(ConfigError, match=said):
        read_key(tmp_path / name, wait_s=0)


def test_a_key_that_another_start_is_just_writing_is_waited_for(tmp_path):
    path, key = tmp_path / "kv.key", os.urandom(KEY_BYTES)
    path.touch()
    reader = threading.Timer(0.05, path.write_bytes, [key])
    reader.start()
    assert read_key(path, wait_s=10) == key
    reader.join()


@pytest.mark.parametrize(("mode", "others"), [(0o600, False), (0o640, True), (0o604, True)])
def test_an_operators_own_key_is_taken_as_it_is_and_it_is_noticed_when_others_may_read_it(tmp_path, mode, others):
    path = tmp_path / "kv.key"
    path.write_bytes(b"k" * 100)
    path.chmod(mode)
    assert read_key(path) == b"k" * 100
    assert is_readable_by_others(path) is others


def test_what_is_written_once_is_not_written_again(tmp_path):
    assert [write_once(tmp_path / "stamp", content) for content in (b"one", b"two")] == [b"one", b"one"]
