"""What `docker compose` is called with: which files, which profiles, as whom."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from config import env_file
from config.errors import StackError
from config.paths import ROOT, arena_home
from config.run_state import containers_file

PROFILES = ("observability", "router")
USER = 1000  # as docker-compose.yml has it; root's containers run as this, too

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, slots=True)
class Composition:
    """One way to run the stack as containers."""

    cpu: bool = False
    profiles: tuple[str, ...] = ()
    model: str = ""  # empty: as .env or docker-compose.yml says

    def command(self, *arguments: str) -> list[str]:
        """`docker compose` with its files and profiles before `arguments`."""
        files = ["docker-compose.yml", *(["docker-compose.cpu.yml"] if self.cpu else [])]
        named = [word for file in files for word in ("--file", str(ROOT / file))]
        # Settings reach Compose in its environment: `.env` has one reader (config/env_file.py)
        profiles = (word for profile in self.profiles for word in ("--profile", profile))
        return ["docker", "compose", "--env-file", os.devnull, *named, *profiles, *arguments]

    def remember(self, home: Path) -> None:
        """So that other commands know what runs."""
        path = containers_file(home)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(asdict(self)))


def recorded_composition(home: Path) -> Composition:
    """What `up --docker` started; the usual one where the record is damaged. Raises StackError when there is none."""
    try:
        kept = json.loads(containers_file(home).read_bytes())
    except FileNotFoundError as exc:
        raise StackError("no containers were started from here: ./arena up --docker") from exc
    except (OSError, ValueError, RecursionError):
        kept = {}
    fields = kept if isinstance(kept, dict) else {}
    profiles, model = fields.get("profiles"), fields.get("model")
    return Composition(
        fields.get("cpu") is True,
        tuple(name for name in PROFILES if isinstance(profiles, list) and name in profiles),
        model if isinstance(model, str) else "",
    )


def remove_record(home: Path) -> None:
    """Afterwards commands are about the embedded stack again."""
    for path in (containers_file(home), _token_file(home)):
        path.unlink(missing_ok=True)


def compose_environment(
    environ: Mapping[str, str], *, cpu: bool = False, dotenv: Path = ROOT / ".env", uid: int | None = None
) -> dict[str, str]:
    """What compose interpolates, without the token, which goes as a file only.

    Containers that read and write folders of the host run as the caller; root's, and those on the CPU, as USER.
    """
    uid = os.getuid() if uid is None else uid
    filed = {key: value for key, value in env_file.read_env_file(dotenv, environ).values.items() if value}
    environ = {**filed, **environ}
    env = {key: value for key, value in environ.items() if key != "HF_TOKEN"}
    if not env.get("ARENA_UID"):
        own_uid, own_gid = (USER, USER) if cpu or not uid else (uid, os.getgid())
        env |= {"ARENA_UID": str(own_uid), "ARENA_GID": str(own_gid)}
    token = _token_file(arena_home(environ))
    return env | {"HF_TOKEN_FILE": str(token)} if token.exists() else env


def write_token_file(env: Mapping[str, str], token: str) -> None:
    """A token as a file that only the containers' user reads, till they are stopped; no file when it is empty."""
    path, owner = _token_file(arena_home(env)), int(env["ARENA_UID"])
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    if not token:
        return
    path.touch(mode=0o600)
    path.write_text(token)
    if os.getuid() == 0:
        os.chown(path, owner, -1)


def chown_folder(folder: Path, env: Mapping[str, str], *, filled: bool = False) -> None:
    """Makes a bind mount's folder the containers' user's, as Docker itself would make it root's.

    Of those that are there only root's, which only root can give away: empty ones, or also `filled` ones without what
    is inside.
    """
    there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0 and folder.stat().st_uid == 0 and (filled or not there or not any(folder.iterdir())):
        os.chown(folder, int(env["ARENA_UID"]), int(env["ARENA_GID"]))


def run_output(command: Sequence[str], env: Mapping[str, str], run: Run = subprocess.run) -> str:
    """What it prints. Raises StackError with its last line when it fails."""
    result = run(list(command), env=dict(env), cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        said = result.stderr.strip().splitlines() or ["no message"]
        raise StackError(f"{' '.join(command[:2])} failed: {said[-1]}")
    return result.stdout


def _token_file(home: Path) -> Path:
    return home / "run" / "hf_token"
