"""How `docker compose` is called: its files, profiles and environment, and the user that containers run as."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from config import env_file
from config.errors import ConfigError, StackError
from config.exit_codes import caller_settings
from config.paths import ROOT, arena_home
from config.run_state import containers_file
from config.settings import IN_PROCESS
from launch.stack import write_secret

PROFILES = ("observability", "router")
USER = 1000  # as in docker-compose.yml; also used if root starts the containers
HOST_PATHS = {  # paths on this machine, with the defaults of docker-compose.yml
    "KV_STORE_DIR": "./.arena/kv",
    "KV_KEY_DIR": "./.arena/key",
    "LOCAL_HF_HOME": "~/.cache/huggingface",
    "RESULTS_DIR": "./results",
    "MODEL_DIR": "",
    "HF_TOKEN_FILE": "/dev/null",
    "UI_PASSWORD_FILE": "/dev/null",
}

WRITE, READ = stat.S_IWOTH | stat.S_IXOTH, stat.S_IROTH  # mode bits, in the position of "others"

RunCompose = Callable[..., "subprocess.CompletedProcess[str]"]


def container_device(*, cpu: bool) -> str:
    """Returns the DEVICE of the containers, which the compose files fix; sizes depend on it."""
    return "cpu" if cpu else "cuda"


@dataclass(frozen=True, slots=True)
class Composition:
    """One way to run the stack as containers."""

    cpu: bool = False
    profiles: tuple[str, ...] = ()
    model: str = ""  # empty: as set in .env or docker-compose.yml
    connector: str = ""  # KV_CONNECTOR, if it is one that works inside vLLM's process

    @classmethod
    def of(cls, *, cpu: bool = False, profiles: Sequence[str] = (), model: str = "") -> Composition:
        """Returns the composition for the caller's settings. Raises ConfigError for a connector that needs GPUs."""
        settings = caller_settings(DEVICE=container_device(cpu=cpu))
        if settings.in_process and cpu:
            raise ConfigError(f"KV_CONNECTOR={settings.kv_connector} needs GPUs: leave out --cpu, or KV_CONNECTOR")
        return cls(cpu, tuple(profiles), model, settings.kv_connector if settings.in_process else "")

    def command(self, *arguments: str) -> list[str]:
        """Returns the `docker compose` command line: its files and profiles, then `arguments`."""
        files = ["docker-compose.yml", *(["docker-compose.cpu.yml"] if self.cpu else [])]
        files += ["docker-compose.in-process.yml"] if self.connector else []
        named = [word for file in files for word in ("--file", str(ROOT / file))]
        # Compose gets settings from its environment, because only config/env_file.py reads `.env`
        profiles = (word for profile in self.profiles for word in ("--profile", profile))
        return ["docker", "compose", "--env-file", os.devnull, *named, *profiles, *arguments]

    def environment(self) -> dict[str, str]:
        """Returns the variables that Compose interpolates; `model` and `connector`, if given, override `.env`."""
        named = {"MODEL": self.model} if self.model else {}
        named |= {"KV_CONNECTOR": self.connector, "KV_SERDE": "none"} if self.connector else {}
        return compose_environment({**os.environ, **named}, cpu=self.cpu)

    def record(self, home: Path) -> None:
        """Records the composition, so that other commands can find what runs."""
        path = containers_file(home)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def recorded(cls, home: Path) -> Composition:
        """Returns what `up --docker` started, or the default composition if the record is damaged or missing."""
        try:
            kept = json.loads(containers_file(home).read_bytes())
        except (OSError, ValueError, RecursionError):
            kept = {}
        fields = kept if isinstance(kept, dict) else {}
        profiles, model, connector = (fields.get(name) for name in ("profiles", "model", "connector"))
        return cls(
            fields.get("cpu") is True,
            tuple(name for name in PROFILES if isinstance(profiles, list) and name in profiles),
            model if isinstance(model, str) else "",
            connector if connector in IN_PROCESS else "",
        )


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """The user that containers run as. Host folders are accessed by its ids alone; root has no extra privilege."""

    uid: int
    gid: int

    @classmethod
    def of(cls, env: Mapping[str, str]) -> ContainerUser:
        """Returns the user of ARENA_UID and ARENA_GID. Raises ConfigError if either is not a number."""
        uid, gid = (env.get(name) or str(USER) for name in ("ARENA_UID", "ARENA_GID"))
        if not uid.isdecimal() or not gid.isdecimal():
            raise ConfigError(f"ARENA_UID={uid}, ARENA_GID={gid}: both are numbers, as id -u and id -g print them")
        return cls(int(uid), int(gid))

    def may(self, path: Path, bits: int) -> bool:
        """Whether owner, group and mode permit `bits` (READ or WRITE); ACLs are ignored. Raises OSError."""
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return (found.st_mode >> shift) & bits == bits

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


def remove_record(home: Path) -> None:
    """Deletes the record and the token's file; afterwards commands refer to the processes again."""
    for path in (containers_file(home), _token_file(home)):
        path.unlink(missing_ok=True)


def compose_environment(
    environ: Mapping[str, str], *, cpu: bool = False, dotenv: Path = ROOT / ".env", uid: int | None = None
) -> dict[str, str]:
    """Returns the variables that Compose interpolates, without the token, which is passed only as a file.

    Containers run as the caller, because they read and write host folders; with `cpu`, or if root starts them, as USER.
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


def compose_path(env: Mapping[str, str], name: str) -> Path:
    """Returns a path of HOST_PATHS as Compose resolves it: relative to docker-compose.yml's folder, `~` as home.

    Raises ConfigError for a bare word, which Compose would interpret as a volume's name.
    """
    word = env.get(name) or HOST_PATHS[name]
    if word and not name.endswith("_FILE") and not word.startswith(("/", ".", "~")):
        raise ConfigError(f"{name}={word}: Compose takes that for the name of a volume; a folder is ./{word}")
    return Path(os.path.normpath(ROOT / Path(word).expanduser()))


def write_token_file(env: Mapping[str, str], token: str) -> None:
    """Writes the token to a file that only the containers' user can read; an empty token leaves no file.

    The file is kept until the containers are stopped.
    """
    path = _token_file(arena_home(env))
    write_secret(path, token)
    if token and os.getuid() == 0:
        os.chown(path, ContainerUser.of(env).uid, -1)


def chown_folder(folder: Path, env: Mapping[str, str], *, filled: bool = False) -> None:
    """Creates a bind mount's folder owned by the containers' user; Docker would create it as root.

    Only root can change the owner. An existing folder's owner changes if it is root and the folder is empty, or not
    empty but `filled` is true; the folder's content keeps its owner.
    """
    user, existed = ContainerUser.of(env), folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0 and folder.stat().st_uid == 0 and (filled or not existed or not any(folder.iterdir())):
        os.chown(folder, user.uid, user.gid)


def run_output(command: Sequence[str], env: Mapping[str, str], run: RunCompose = subprocess.run) -> str:
    """Returns the command's stdout. If it fails, raises StackError with the last line of its stderr."""
    result = run(list(command), env=dict(env), cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        said = result.stderr.strip().splitlines() or ["no message"]
        raise StackError(f"{' '.join(command[:2])} failed: {said[-1]}")
    return result.stdout


def _token_file(home: Path) -> Path:
    return home / "run" / "hf_token"
