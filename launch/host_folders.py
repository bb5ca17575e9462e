"""Whether the containers' user may use a folder of the host: its number alone counts, and root has no privilege."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConfigError
from config.paths import ROOT
from launch.check_result import CheckResult, CheckStatus
from launch.compose import USER

WRITE, READ = stat.S_IWOTH | stat.S_IXOTH, stat.S_IROTH


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """Whom the containers run as."""

    uid: int
    gid: int

    @classmethod
    def of(cls, env: Mapping[str, str]) -> ContainerUser:
        """Raises ConfigError when ARENA_UID or ARENA_GID is no number."""
        uid, gid = (env.get(name) or str(USER) for name in ("ARENA_UID", "ARENA_GID"))
        if not uid.isdecimal() or not gid.isdecimal():
            raise ConfigError(f"ARENA_UID={uid}, ARENA_GID={gid}: both are numbers, as id -u and id -g print them")
        return cls(int(uid), int(gid))

    def may(self, path: Path, bits: int) -> bool:
        """By owner, group and mode; access lists are not looked at."""
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return (found.st_mode >> shift) & bits == bits

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


def check_writable_folder(
    subject: str, folder: Path, user: ContainerUser, *, inner: Sequence[str] = (), made_by_up: bool = False
) -> CheckResult:
    """The folder and, where they are there, its folders `inner`. Docker itself makes a missing one as root."""
    try:
        if not folder.exists():
            make = f"sudo install -d -o {user.uid} -g {user.gid} {shlex.quote(str(folder))}"
            before = "./arena up --docker makes it; before a plain docker compose up: " if made_by_up else ""
            return CheckResult(
                subject,
                CheckStatus.NOTE if made_by_up else CheckStatus.BAD,
                f"{folder} is not there yet",
                before + make,
            )
        if not folder.is_dir():
            return CheckResult(subject, CheckStatus.BAD, f"{folder} is not a folder", "name another one in .env")
        there = (folder, *(folder / name for name in inner if (folder / name).is_dir()))
        closed = next((path for path in there if not user.may(path, WRITE)), None)
    except OSError as exc:
        return CheckResult(subject, CheckStatus.NOTE, f"{folder} cannot be looked at: {exc.strerror}")
    if closed is None:
        return CheckResult(subject, CheckStatus.GOOD, f"{folder} can be written")
    owner, quoted = closed.stat(), shlex.quote(str(folder))
    open_it = f"sudo chmod -R u+rwX {quoted}"
    if owner.st_uid != user.uid:
        closed_to_its_owner = (owner.st_mode >> 6) & WRITE != WRITE
        open_it = f"sudo chown -R {user} {quoted}" + (f" && {open_it}" if closed_to_its_owner else "")
    return CheckResult(
        subject,
        CheckStatus.BAD,
        f"{closed} belongs to {owner.st_uid}:{owner.st_gid}, and the containers' user {user} cannot write it",
        open_it,
    )


def check_readable_file(subject: str, file: Path, user: ContainerUser) -> CheckResult | None:
    """None when nothing is wrong with it."""
    quoted = shlex.quote(str(file))
    try:
        if user.may(file, READ):
            return None
    except OSError as exc:
        return CheckResult(subject, CheckStatus.BAD, f"{file}: {exc.strerror}", "name an existing file, or none")
    return CheckResult(
        subject,
        CheckStatus.BAD,
        f"the containers' user {user} cannot read {file}",
        f"sudo chown {user} {quoted} && sudo chmod 400 {quoted}",
    )


def compose_path(env: Mapping[str, str], name: str, default: str) -> Path:
    """A path as Compose reads it: from the folder of docker-compose.yml, `~` as home.

    Raises ConfigError for a bare word, which Compose takes for a volume's name.
    """
    word = env.get(name) or default
    if word and not name.endswith("_FILE") and not word.startswith(("/", ".", "~")):
        raise ConfigError(f"{name}={word}: Compose takes that for the name of a volume; a folder is ./{word}")
    return Path(os.path.normpath(ROOT / Path(env.get(name) or default).expanduser()))
