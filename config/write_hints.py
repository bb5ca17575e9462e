"""Hints for a folder that cannot be written, depending on the error of the operating system."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Mapping
from pathlib import Path


def unwritable_hint(path: Path, exc: OSError, setting: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns what to do when `path` could not be created or written; `setting` is the setting that names it."""
    other_place = f"set {setting} to another place"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room there, or set {setting} to another disk"
    if exc.errno == errno.EROFS:
        return f"it is mounted read-only: {other_place}"
    if exc.errno not in (errno.EACCES, errno.EPERM):
        return other_place
    outside, uid, gid = shlex.quote(host_path(path, environ)), os.geteuid(), os.getegid()
    if not os.path.isdir(path):
        return f"sudo install -d -o {uid} -g {gid} {outside}, or {other_place}"
    owner = path.stat()
    if owner.st_uid == uid:
        return f"{path} is not writable for its owner: chmod -R u+rwX {outside}"
    return (
        f"{path} belongs to {owner.st_uid}:{owner.st_gid}, and this process runs as {uid}:{gid}: "
        f"sudo chown -R {uid}:{gid} {outside}"
    )


def host_path(path: Path, environ: Mapping[str, str]) -> str:
    """Returns the host's path for a path inside a container.

    MOUNTED lists the mounts of docker-compose.yml, such as `/kv=./kv:/key=./key`.
    """
    for pair in environ.get("MOUNTED", "").split(":"):
        inside, _, outside = pair.partition("=")
        if outside and path.is_relative_to(inside):
            return os.path.join(outside, path.relative_to(inside)) if path != Path(inside) else outside
    return str(path)
