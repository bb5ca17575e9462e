"""Docker's engine and its Compose: whether they answer, what they know, and whether they have room."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from config.errors import StackError
from launch.check_result import CheckResult, CheckStatus
from launch.requirements import GIB

COMPOSE = (2, 24, 4)  # the first that knows !override
IMAGES = {False: ("ttft-arena-engine", "ttft-arena-app"), True: ("ttft-arena-engine-cpu", "ttft-arena-app")}
IMAGES_GIB = {False: 30, True: 8}

Run = Callable[[Sequence[str]], "CompletedProcess[str] | None"]


class DockerInfo(BaseModel):
    """`docker info`, as much of it as counts here."""

    version: str = Field("", alias="ServerVersion")
    root: Path = Field(Path(), alias="DockerRootDir")
    memory: int = Field(0, alias="MemTotal")
    runtimes: dict[str, Any] = Field({}, alias="Runtimes")
    security: list[str] = Field([], alias="SecurityOptions")
    discovered: list[dict[str, Any]] = Field([], alias="DiscoveredDevices")

    @field_validator("*", mode="before")
    @classmethod
    def _filled(cls, value: object, info: ValidationInfo) -> object:
        return cls.model_fields[str(info.field_name)].default if value is None else value

    @property
    def devices(self) -> list[str]:
        return [str(device.get("ID", "")) for device in self.discovered]

    @property
    def maps_users(self) -> bool:
        """Rootless, or with user namespaces: a user's number inside is another one outside."""
        return any(option in security for security in self.security for option in ("name=rootless", "name=userns"))


def docker_info(command: Sequence[str]) -> CompletedProcess[str] | None:
    """The finished command, or None when there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return CompletedProcess(command, 124, "", "no answer within 20 s")
    except OSError:
        return None


def docker(run: Run) -> tuple[CheckResult, DockerInfo | None]:
    """What the command line says of its daemon."""
    result = run(["docker", "info", "--format", "{{json .}}"])
    if result is None:
        advice = "install Docker Engine (docs.docker.com/engine/install), or do without: ./arena up"
        return CheckResult("Docker", CheckStatus.BAD, "there is no docker command", advice), None
    try:
        daemon = DockerInfo.model_validate_json(result.stdout)
    except ValidationError:
        daemon = DockerInfo.model_validate({})
    if daemon.version:
        return CheckResult("Docker", CheckStatus.GOOD, f"engine {daemon.version}"), daemon
    if "permission denied" in (result.stdout + result.stderr).lower():
        fact = "this user may not speak to the engine"
        advice = "sudo usermod -aG docker $USER, then log in anew; or do without Docker: ./arena up"
    else:
        said = result.stderr.strip().splitlines() or ["no message"]
        fact = f"the engine does not answer ({said[-1]})"
        advice = "start it: sudo systemctl start docker; or do without Docker: ./arena up"
    return CheckResult("Docker", CheckStatus.BAD, fact, advice), None


def compose(run: Run) -> CheckResult:
    result = run(["docker", "compose", "version", "--short"])
    said = result.stdout.strip() if result and not result.returncode else ""
    numbers = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", said)
    least = ".".join(map(str, COMPOSE))
    advice = f"install the plugin docker-compose-plugin, {least} or newer (docs.docker.com/compose/install/linux)"
    if not numbers:
        return CheckResult("Compose", CheckStatus.BAD, "docker has no compose command", advice)
    if tuple(int(number or 0) for number in numbers.groups()) < COMPOSE:
        return CheckResult("Compose", CheckStatus.BAD, f"{said} is older than {least}", advice)
    return CheckResult("Compose", CheckStatus.GOOD, said)


def bytes_free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def check_disk_room(
    run: Run, daemon: DockerInfo, *, cpu: bool, free: Callable[[Path], int] = bytes_free
) -> CheckResult:
    """Built images are there already, or there is room for them."""
    built = [run(["docker", "image", "ls", "--quiet", name]) for name in IMAGES[cpu]]
    if all(result and result.stdout.strip() for result in built):
        return CheckResult("images", CheckStatus.GOOD, "built")
    if not daemon.root.is_absolute() or not daemon.root.exists():
        return CheckResult(
            "images", CheckStatus.NOTE, f"Docker keeps them out of sight, and they take {IMAGES_GIB[cpu]} GiB"
        )
    there = free(daemon.root) / GIB
    fact = f"{there:.1f} GiB free in {daemon.root}, about {IMAGES_GIB[cpu]} needed"
    if there < IMAGES_GIB[cpu]:
        advice = "free some (docker system df shows what may go), or move Docker's data-root to a larger disk"
        return CheckResult("images", CheckStatus.BAD, fact, advice)
    return CheckResult("images", CheckStatus.GOOD, fact)


def project(env: Mapping[str, str]) -> str:
    """The name that Compose labels our containers with."""
    return env.get("COMPOSE_PROJECT_NAME") or "ttft-arena"


def containers_exist(env: Mapping[str, str], run: Run = docker_info) -> bool:
    """Whether Docker has containers of ours, running or not. Raises StackError when it does not answer."""
    listed = run(["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project(env)}"])
    if listed and not listed.returncode:
        return bool(listed.stdout.strip())
    found, _ = docker(run)
    raise StackError(f"the stack was started as containers, and cannot be reached: {found.fact}; {found.advice}")


def published(run: Run, env: Mapping[str, str]) -> str:
    """The ports of our own running containers, as Docker writes them; empty when none runs."""
    label = f"label=com.docker.compose.project={project(env)}"
    result = run(["docker", "ps", "--filter", label, "--format", "{{.Names}} {{.Ports}}"])
    return result.stdout if result and not result.returncode else ""
