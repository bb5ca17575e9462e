"""What to do about a folder that cannot be written, by the reason that the operating system gives."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM)


def unwritable_hint(path: Path, exc: OSError, setting: str, environ: Mapping[str, str] = os.environ) -> str:
    """The next step, where `path` could not be made or written; `setting` is what names its place."""
    if exc.errno in FULL:
        return f"make room there, or set {setting} to another disk"
    if exc.errno == errno.EROFS:
        return f"it is mounted read-only: set {setting} to another place"
    if exc.errno in CLOSED and os.path.isdir(path):
        return _opened(path, shlex.quote(host_path(path, environ)))
    if exc.errno in CLOSED:
        user = f"-o {os.geteuid()} -g {os.getegid()}"
        return f"sudo install -d {user} {shlex.quote(host_path(path, environ))}, or set {setting} to another place"
    return f"set {setting} to another place"


def _opened(folder: Path, outside: str) -> str:
    owner, user = folder.stat(), f"{os.geteuid()}:{os.getegid()}"
    if owner.st_uid == os.geteuid():
        return f"{folder} lets its owner not write: chmod -R u+rwX {outside}"
    return f"{folder} belongs to {owner.st_uid}:{owner.st_gid}, and this runs as {user}: sudo chown -R {user} {outside}"


def host_path(path: Path, environ: Mapping[str, str]) -> str:
    """A container's path as the host has it: MOUNTED lists what docker-compose.yml mounts, `/kv=./kv:/key=./key`."""
    for pair in environ.get("MOUNTED", "").split(":"):
        inside, _, outside = pair.partition("=")
        if outside and path.is_relative_to(inside):
            return os.path.join(outside, path.relative_to(inside)) if path != Path(inside) else outside
    return str(path)
