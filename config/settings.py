"""All settings that an operator may choose.

The fields are in the order of `.env.example`, where the variables that only Docker Compose reads come last. A command
reads its settings once at its start, from the environment and `.env`, and passes them on as a value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from config import run_state
from config.env_file import read_env_file
from config.errors import ConfigError
from config.paths import ROOT, arena_home
from config.recipe import REVISION, find_recipe, is_hub_name, model_path
from config.server_url import normalize_url
from config.service_environment import SECRET_SETTINGS

DEFAULT_SIZES = {  # by DEVICE, in tokens; chunks of 256 are LMCache's own default, and 0 lets vLLM choose the block
    "cpu": {"CHUNK_SIZE": "64", "BLOCK_SIZE": "32"},
    "cuda": {"CHUNK_SIZE": "256", "BLOCK_SIZE": "0"},
}
CPU_BLOCK_SIZE = 128  # what vLLM chooses on a CPU
CPU_BLOCK_MULTIPLE = 32  # the attention of vLLM's CPU backend takes multiples of it only
IN_PROCESS = ("lmcache", "offloading")  # values of KV_CONNECTOR that work inside vLLM's process
STAND_IN_MODEL = "SmolLM2-135M-Omni"
SHOWN_CHARACTERS = 200  # of a bad value in an error message
COMPOSE_PREFIXES = ("COMPOSE_", "DOCKER_")  # read from `.env` by Docker's own commands
COMPOSE_ONLY_NAMES = (  # read only by the compose files
    *("GPU_PLAIN_A", "GPU_PLAIN_B", "GPU_LMCACHE_A", "GPU_LMCACHE_B", "HF_TOKEN_FILE", "MODEL_DIR", "KV_KEY_DIR"),
    *("ARENA_UID", "ARENA_GID", "ENGINE_MEMORY", "CACHE_MEMORY", "ENGINE_CPUS", "RESULTS_DIR", "ROUTER_PORT"),
    *("GRAFANA_PORT", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE", "NFS_SERVER", "NFS_PATH", "HOST_B"),
)


class Settings(BaseModel):
    """The operator's settings. `_gb` means GiB and `_mb` MiB, ports are TCP ports, and paths may start with `~`."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=str.upper)

    model: str = Field(STAND_IN_MODEL, min_length=1)
    model_revision: str = Field("", pattern=REVISION)
    kv_store_dir: Path
    kv_max_gb: float = Field(0, ge=0, le=2**20, allow_inf_nan=False)  # 0: a share of the disk (cache/keeper.py)
    hf_token: SecretStr = SecretStr("")
    local_hf_home: Path = Field(Path("~/.cache/huggingface"), validate_default=True)
    engines: Literal[2, 4] = 4
    kv_cache_memory_gb: float = Field(0.5, ge=0, le=4096)
    l1_size_gb: int = Field(1, ge=1, le=4096)
    ui_port: int = Field(7860, ge=1, le=65535)
    engine_port: int = Field(8001, ge=1, le=65532)
    cache_port: int = Field(8091, ge=1, le=65532)
    bind_host: str = "127.0.0.1"
    engine_url: str = "http://127.0.0.1:{port}"
    cache_url: str = "http://127.0.0.1:{port}"
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    chunk_size: int = Field(ge=1, le=65536)  # tokens of KV that are stored together; only whole chunks are stored
    block_size: int = Field(ge=0, le=65536)  # tokens in a block of each engine's own KV cache; 0: vLLM chooses
    kv_key_file: Path
    kv_serde: Literal["aesgcm", "none"] = "aesgcm"
    kv_connector: Literal["lmcache-mp", "lmcache", "offloading"] = "lmcache-mp"
    allowed_media_domains: str = Field("", pattern=r"^[^\s/:]*$")
    media_max_mb: int = Field(50, ge=1, le=4096)
    media_max_pixels: int = Field(50_000_000, ge=1)
    media_max_seconds: int = Field(600, ge=1)
    media_max_frames: int = Field(18_000, ge=1)
    media_max_film_pixels: int = Field(600_000_000, ge=1)
    media_max_files: int = Field(16, ge=1)
    media_max_total_mb: int = Field(100, ge=1, le=16384)
    ui_username: str = ""
    ui_password: SecretStr = SecretStr("")
    ui_password_file: Path | None = None
    ui_allowed_hosts: str = Field("", pattern=r"^[^\s/:@]*$")

    @field_validator("kv_store_dir", "local_hf_home", "kv_key_file", "ui_password_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        try:
            return path and (ROOT / path.expanduser()).resolve()
        except RuntimeError as exc:
            raise ValueError(str(exc)) from exc

    @field_validator("engine_url", "cache_url")
    @classmethod
    def _url_template(cls, url: str) -> str:
        return normalize_url(url, name="plain-a", port=1)

    @model_validator(mode="after")
    def _ports_are_distinct(self) -> Settings:
        engines, caches = range(self.engine_port, self.engine_port + 4), range(self.cache_port, self.cache_port + 4)
        if len({*engines, *caches, self.ui_port}) < 9:
            raise ValueError("ENGINE_PORT and CACHE_PORT each take four ports; with UI_PORT they overlap")
        return self

    @model_validator(mode="after")
    def _chunks_are_whole_blocks(self) -> Settings:
        on_cpu, sizes = self.device == "cpu", f"CHUNK_SIZE={self.chunk_size} with BLOCK_SIZE={self.block_size}"
        if on_cpu and self.block_size % CPU_BLOCK_MULTIPLE:
            raise ValueError(
                f"{sizes}: vLLM's CPU backend takes blocks of {CPU_BLOCK_MULTIPLE} tokens and multiples of it; set "
                f"BLOCK_SIZE to one, or to 0 for vLLM's own {CPU_BLOCK_SIZE}"
            )
        block = self.block_size or (CPU_BLOCK_SIZE if on_cpu else 1)
        if self.chunk_size % block:
            raise ValueError(
                f"{sizes}: a chunk has to be whole blocks, and a block has {block} tokens; set CHUNK_SIZE to a "
                "multiple of that, or BLOCK_SIZE to a size that divides the chunk"
            )
        return self

    @model_validator(mode="after")
    def _unauthenticated_kv_is_accepted(self) -> Settings:
        if self.in_process and self.kv_serde != "none":
            raise ValueError(
                f"KV_CONNECTOR={self.kv_connector} does not authenticate what it stores: whoever can write to the KV "
                "volume can change answers; set KV_SERDE=none to accept this"
            )
        return self

    @field_validator("engines", mode="before")
    @classmethod
    def _decimal(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Reads settings from variables; an empty one counts as unset.

        A recipe's name becomes its model's path or hub name. Raises ConfigError for a bad value.
        """
        home = arena_home(env)
        given = {"KV_STORE_DIR": str(home / "kv"), "KV_KEY_FILE": str(home / "kv.key")}
        given |= DEFAULT_SIZES.get(env.get("DEVICE", ""), DEFAULT_SIZES["cpu"])
        given |= {key: _checked_text(key, env[key]) for key in SETTING_NAMES if env.get(key)}
        given["MODEL"] = model_path(given.get("MODEL", STAND_IN_MODEL), home / "models")
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            faults = "; ".join(map(_fault, exc.errors()))
            raise ConfigError(f"bad settings ({faults}); .env.example says what each one takes") from exc

    @property
    def revision(self) -> str:
        """The commit of the hub repository that is served; empty for a folder, or if no commit is pinned."""
        if not is_hub_name(self.model):
            return ""
        recipe = find_recipe(self.model)
        return self.model_revision or (recipe.revision if recipe else "")

    @property
    def in_process(self) -> bool:
        """Whether the KV connector reads and writes the KV volume inside vLLM's process, without a cache server."""
        return self.kv_connector in IN_PROCESS

    @property
    def media_domains(self) -> tuple[str, ...]:
        """ALLOWED_MEDIA_DOMAINS, in lower case."""
        return _comma_separated(self.allowed_media_domains)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """UI_ALLOWED_HOSTS, in lower case."""
        return _comma_separated(self.ui_allowed_hosts)

    def to_env(self) -> dict[str, str]:
        """Returns the settings as environment variables for a child process, without the secrets."""
        values = self.model_dump(by_alias=True, exclude={"hf_token", "ui_password"})
        return {key: "" if value is None else str(value) for key, value in values.items()}


SETTING_NAMES = tuple(str(field.alias) for field in Settings.model_fields.values())


def _comma_separated(text: str) -> tuple[str, ...]:
    return tuple(each.lower() for each in text.split(",") if each)


def _checked_text(key: str, value: str) -> str:
    """Returns the value. Raises ConfigError for control characters and invalid UTF-8.

    The error does not contain the value: a terminal would execute its escape sequences.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ConfigError(f"{key} has a control character (perhaps the end of a line), or is not UTF-8: set it again")
    return value


def _fault(error: ErrorDetails) -> str:
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name, value = error["loc"][0], str(error["input"])
    if name in SECRET_SETTINGS:
        value = ""
    elif len(value) > SHOWN_CHARACTERS:
        value = f"{value[:SHOWN_CHARACTERS]}…"
    return f"{name}={value}: {error['msg']}"


def load_settings(environ: Mapping[str, str], dotenv: Path = ROOT / ".env") -> tuple[Settings, tuple[str, ...]]:
    """Returns the settings, and the unknown keys of the file `dotenv`.

    `environ` takes precedence. Other settings come from the running stack, or from `dotenv` if none is running.
    Raises ConfigError for a bad value, and for a file that cannot be read.
    """
    given = {key: value for key, value in environ.items() if value != ""}
    if started := _of_running_stack(arena_home(environ)):
        return Settings.from_env(started | given), ()
    file = read_env_file(dotenv, environ)
    known = {*SETTING_NAMES, *COMPOSE_ONLY_NAMES} | file.used
    unknown = tuple(key for key in file.values if key not in known and not key.startswith(COMPOSE_PREFIXES))
    return Settings.from_env({key: file.values[key] for key in SETTING_NAMES if key in file.values} | given), unknown


def _of_running_stack(home: Path) -> dict[str, str]:
    """Returns the settings of the running stack of processes; empty if none is running or its record is damaged."""
    if not run_state.supervisord_pid(home):
        return {}
    started = run_state.read_string_map(run_state.settings_file(home))
    try:
        Settings.from_env(started | {"ARENA_HOME": str(home)})
    except ConfigError:
        return {}
    return started
