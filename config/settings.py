"""Everything an operator may choose: one field per line of `.env.example`, in the same order, before those of Compose.

Read once, at the door, from the environment over `.env`; a value from then on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from config import env_file, run_state
from config.errors import ConfigError
from config.paths import ROOT, arena_home
from config.recipe import REVISION, find_recipe, is_hub_name, model_path
from config.server_url import normalize_url
from config.service_environment import SECRET_SETTINGS

EMBEDDED_MODEL = "SmolLM2-135M-Omni"


class Settings(BaseModel):
    """A frozen set of choices. Sizes are GiB, ports TCP; paths may start with `~`."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    model: str = Field(EMBEDDED_MODEL, alias="MODEL", min_length=1)
    model_revision: str = Field("", alias="MODEL_REVISION", pattern=REVISION)
    kv_store_dir: Path = Field(alias="KV_STORE_DIR")
    hf_token: SecretStr = Field(SecretStr(""), alias="HF_TOKEN")
    local_hf_home: Path = Field(Path("~/.cache/huggingface"), alias="LOCAL_HF_HOME", validate_default=True)
    engines: Literal[2, 4] = Field(4, alias="ENGINES")
    kv_cache_memory_gb: float = Field(0.5, alias="KV_CACHE_MEMORY_GB", ge=0, le=4096)
    l1_size_gb: int = Field(1, alias="L1_SIZE_GB", ge=1, le=4096)
    ui_port: int = Field(7860, alias="UI_PORT", ge=1, le=65535)
    engine_port: int = Field(8001, alias="ENGINE_PORT", ge=1, le=65532)
    cache_port: int = Field(8091, alias="CACHE_PORT", ge=1, le=65532)
    bind_host: str = Field("127.0.0.1", alias="BIND_HOST")
    engine_url: str = Field("http://127.0.0.1:{port}", alias="ENGINE_URL")
    cache_url: str = Field("http://127.0.0.1:{port}", alias="CACHE_URL")
    device: Literal["cpu", "cuda"] = Field("cpu", alias="DEVICE")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", alias="DTYPE")
    kv_key_file: Path = Field(alias="KV_KEY_FILE")
    kv_serde: Literal["aesgcm", "none"] = Field("aesgcm", alias="KV_SERDE")
    allowed_media_domains: str = Field("", alias="ALLOWED_MEDIA_DOMAINS", pattern=r"^[^\s/:]*$")
    media_max_mb: int = Field(50, alias="MEDIA_MAX_MB", ge=1, le=4096)
    media_max_pixels: int = Field(50_000_000, alias="MEDIA_MAX_PIXELS", ge=1)
    media_max_seconds: int = Field(600, alias="MEDIA_MAX_SECONDS", ge=1)
    media_max_frames: int = Field(18_000, alias="MEDIA_MAX_FRAMES", ge=1)
    media_max_film_pixels: int = Field(600_000_000, alias="MEDIA_MAX_FILM_PIXELS", ge=1)
    media_max_files: int = Field(16, alias="MEDIA_MAX_FILES", ge=1)
    media_max_total_mb: int = Field(100, alias="MEDIA_MAX_TOTAL_MB", ge=1, le=16384)
    ui_username: str = Field("", alias="UI_USERNAME")
    ui_password: SecretStr = Field(SecretStr(""), alias="UI_PASSWORD")
    ui_password_file: Path | None = Field(None, alias="UI_PASSWORD_FILE")
    ui_allowed_hosts: str = Field("", alias="UI_ALLOWED_HOSTS", pattern=r"^[^\s/:@]*$")

    @field_validator("kv_store_dir", "local_hf_home", "kv_key_file", "ui_password_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        try:
            return path and (ROOT / path.expanduser()).resolve()
        except RuntimeError as exc:
            raise ValueError(str(exc)) from exc

    @field_validator("engine_url", "cache_url")
    @classmethod
    def _template(cls, url: str) -> str:
        return normalize_url(url, name="plain-a", port=1)

    @model_validator(mode="after")
    def _ports_are_distinct(self) -> Settings:
        engines, caches = range(self.engine_port, self.engine_port + 4), range(self.cache_port, self.cache_port + 4)
        if len({*engines, *caches, self.ui_port}) < 9:
            raise ValueError("ENGINE_PORT and CACHE_PORT each take four ports; with UI_PORT they overlap")
        return self

    @field_validator("engines", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Unset and empty are the same; a recipe's name is where its model is. Raises ConfigError for bad values."""
        home = arena_home(env)
        _must_be_text(env)
        own = {"KV_STORE_DIR": str(home / "kv"), "KV_KEY_FILE": str(home / "kv.key")}
        given = own | {key: value for key, value in env.items() if key in SETTING_NAMES and value != ""}
        given["MODEL"] = model_path(given.get("MODEL", EMBEDDED_MODEL), home / "models")
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            faults = "; ".join(_fault(error["loc"], error["input"], error["msg"]) for error in exc.errors())
            raise ConfigError(f"bad settings ({faults}); .env.example says what each one takes") from exc

    @property
    def revision(self) -> str:
        """The commit of the hub's repository that is served; empty for a folder, and for what is newest."""
        recipe = find_recipe(self.model)
        return (self.model_revision or (recipe.revision if recipe else "")) if is_hub_name(self.model) else ""

    @property
    def media_domains(self) -> tuple[str, ...]:
        """ALLOWED_MEDIA_DOMAINS, one by one."""
        return tuple(domain.lower() for domain in self.allowed_media_domains.split(",") if domain)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """UI_ALLOWED_HOSTS, one by one."""
        return tuple(host.lower() for host in self.ui_allowed_hosts.split(",") if host)

    def to_env(self) -> dict[str, str]:
        """What a child process reads back as these settings; without the secrets."""
        values = self.model_dump(by_alias=True, exclude={"hf_token", "ui_password"})
        return {key: "" if value is None else str(value) for key, value in values.items()}


def _fault(place: Sequence[object], value: object, message: str) -> str:
    return f"{place[0]}={'' if place[0] in SECRET_SETTINGS else _short(value)}: {message}" if place else message


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _must_be_text(env: Mapping[str, str]) -> None:
    """Neither a file nor a service could be given anything else. The value is not shown: a terminal would obey it."""
    for key in SETTING_NAMES:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in env.get(key, "")):
            raise ConfigError(f"{key} has a control character, or is not UTF-8 (a line's end, perhaps): write it anew")


SETTING_NAMES = tuple(str(field.alias) for field in Settings.model_fields.values())
SHOWN_CHARACTERS = 200  # characters of a bad value
COMPOSE_PREFIXES = ("COMPOSE_", "DOCKER_")  # which Docker's commands read from `.env` themselves
COMPOSE_ONLY_NAMES = (  # the compose files alone read these
    *("GPU_PLAIN_A", "GPU_PLAIN_B", "GPU_LMCACHE_A", "GPU_LMCACHE_B", "HF_TOKEN_FILE", "MODEL_DIR", "KV_KEY_DIR"),
    *("ARENA_UID", "ARENA_GID", "ENGINE_MEMORY", "CACHE_MEMORY", "ENGINE_CPUS", "RESULTS_DIR", "ROUTER_PORT"),
    *("GRAFANA_PORT", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE", "NFS_SERVER", "NFS_PATH", "HOST_B"),
)


def load_settings(environ: Mapping[str, str], dotenv: Path = ROOT / ".env") -> tuple[Settings, tuple[str, ...]]:
    """The settings of `environ` over the file `dotenv`, or over what a running stack was started with.

    Also the file's keys that mean nothing. Raises ConfigError for a bad value, and for a file that cannot be read.
    """
    given = {key: value for key, value in environ.items() if value != ""}
    if started := _of_running_stack(arena_home(environ)):
        return Settings.from_env(started | given), ()
    file = env_file.read_env_file(dotenv, environ)
    known = {*SETTING_NAMES, *COMPOSE_ONLY_NAMES} | file.used
    filed = {key: value for key, value in file.values.items() if key in SETTING_NAMES}
    return Settings.from_env(filed | given), tuple(
        key for key in file.values if key not in known and not key.startswith(COMPOSE_PREFIXES)
    )


def _of_running_stack(home: Path) -> dict[str, str]:
    """Empty where no embedded stack runs, and where its record is damaged."""
    if not run_state.supervisord_pid(home):
        return {}
    started = run_state.read_string_map(run_state.settings_file(home))
    try:
        Settings.from_env(started | {"ARENA_HOME": str(home)})
    except ConfigError:
        return {}
    return started
