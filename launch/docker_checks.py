"""Checks Docker's engine, Compose, the images and the GPUs: whether they respond, and whether there is room."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from config.errors import StackError
from launch.check_result import GIB, CheckResult, CheckStatus, bad, good, note
from launch.model_size import VLLM_SHARE, ModelSize

COMPOSE = (2, 24, 4)  # the first version with !override
IMAGES = {False: ("ttft-arena-engine", "ttft-arena-app"), True: ("ttft-arena-engine-cpu", "ttft-arena-app")}
IMAGES_GIB = {False: 30, True: 8}
ANSWER_S = 20
GPU_DEFAULTS = {"GPU_PLAIN_A": "0", "GPU_PLAIN_B": "1", "GPU_LMCACHE_A": "2", "GPU_LMCACHE_B": "3"}
GPU_QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total,driver_version,name", "--format=csv,noheader,nounits"]
DRIVER = 580  # of NVIDIA, or newer: the image's wheels are built for CUDA 13

RunTool = Callable[[Sequence[str]], "CompletedProcess[str] | None"]


def run_tool(command: Sequence[str]) -> CompletedProcess[str] | None:
    """Returns the finished command (exit code 124 after a timeout), or None if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return CompletedProcess(command, 124, "", f"no answer within {ANSWER_S} s")
    except OSError:
        return None


class DockerInfo(BaseModel):
    """The fields of `docker info` that are used here."""

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
        """Whether Docker is rootless or uses user namespaces, so that user ids differ inside and outside."""
        return any(option in security for security in self.security for option in ("name=rootless", "name=userns"))


def check_docker(run: RunTool) -> tuple[CheckResult, DockerInfo | None]:
    """Checks that the engine responds. Also returns its `docker info`, None if it does not."""
    result = run(["docker", "info", "--format", "{{json .}}"])
    if result is None:
        advice = "install Docker Engine (docs.docker.com/engine/install), or do without: ./arena up"
        return bad("Docker", "there is no docker command", advice), None
    try:
        info = DockerInfo.model_validate_json(result.stdout)
    except ValidationError:
        info = DockerInfo.model_validate({})
    if info.version:
        return good("Docker", f"engine {info.version}"), info
    if "permission denied" in (result.stdout + result.stderr).lower():
        advice = "sudo usermod -aG docker $USER, then log in anew; or do without Docker: ./arena up"
        return bad("Docker", "this user may not speak to the engine", advice), None
    said = result.stderr.strip().splitlines() or ["no message"]
    advice = "start it: sudo systemctl start docker; or do without Docker: ./arena up"
    return bad("Docker", f"the engine does not answer ({said[-1]})", advice), None


def check_compose_version(run: RunTool) -> CheckResult:
    result = run(["docker", "compose", "version", "--short"])
    said = result.stdout.strip() if result and not result.returncode else ""
    numbers = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", said)
    least = ".".join(map(str, COMPOSE))
    advice = f"install the plugin docker-compose-plugin, {least} or newer (docs.docker.com/compose/install/linux)"
    if not numbers:
        return bad("Compose", "docker has no compose command", advice)
    if tuple(int(number or 0) for number in numbers.groups()) < COMPOSE:
        return bad("Compose", f"{said} is older than {least}", advice)
    return good("Compose", said)


def check_images(run: RunTool, docker: DockerInfo, *, cpu: bool, free: int | None = None) -> CheckResult:
    """Checks that the images are built, or that their disk has room: `free` bytes, by default its free space."""
    built = [run(["docker", "image", "ls", "--quiet", name]) for name in IMAGES[cpu]]
    if all(result and result.stdout.strip() for result in built):
        return good("images", "built")
    if not docker.root.is_absolute() or not docker.root.exists():
        return note("images", f"Docker keeps them where this user cannot look, and they take {IMAGES_GIB[cpu]} GiB")
    room = (shutil.disk_usage(docker.root).free if free is None else free) / GIB
    fact = f"{room:.1f} GiB free in {docker.root}, about {IMAGES_GIB[cpu]} needed"
    if room < IMAGES_GIB[cpu]:
        advice = "free some (docker system df shows what may go), or move Docker's data-root to a larger disk"
        return bad("images", fact, advice)
    return good("images", fact)


def _project_filter(env: Mapping[str, str]) -> list[str]:
    """Returns the filter for the label that Compose gives to the project's containers."""
    return ["--filter", f"label=com.docker.compose.project={env.get('COMPOSE_PROJECT_NAME') or 'ttft-arena'}"]


def containers_exist(env: Mapping[str, str], run: RunTool = run_tool) -> bool:
    """Whether Docker has containers of this project, running or not. Raises StackError if it does not answer."""
    listed = run(["docker", "ps", "--all", "--quiet", *_project_filter(env)])
    if listed and not listed.returncode:
        return bool(listed.stdout.strip())
    found, _ = check_docker(run)
    raise StackError(f"the stack was started as containers, and cannot be reached: {found.fact}; {found.advice}")


def published_ports(run: RunTool, env: Mapping[str, str]) -> str:
    """Returns the ports of the project's running containers in Docker's format: `127.0.0.1:7860->7860/tcp`.

    The text is empty if none runs.
    """
    result = run(["docker", "ps", *_project_filter(env), "--format", "{{.Names}} {{.Ports}}"])
    return result.stdout if result and not result.returncode else ""


def check_toolkit(
    runtimes: Sequence[str], devices: Sequence[str], which: Callable[[str], str | None] = shutil.which
) -> CheckResult:
    """Checks that Docker can use GPUs.

    It needs NVIDIA's runtime, NVIDIA's hook (which Docker finds by itself) or a CDI device.
    """
    if "nvidia" in runtimes or any(device.startswith("nvidia.com/") for device in devices):
        return good("NVIDIA toolkit", "known to Docker")
    if which("nvidia-container-runtime-hook"):
        return good("NVIDIA toolkit", "installed")
    return bad(
        "NVIDIA toolkit",
        "Docker knows neither NVIDIA's runtime nor a CDI device",
        "install nvidia-container-toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker && "
        "sudo systemctl restart docker; or do without GPUs: ./arena up --docker --cpu",
    )


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. `memory` is in bytes, 0 if the driver does not report it; `driver` is its version."""

    index: str
    uuid: str
    memory: int
    driver: str
    name: str

    def __str__(self) -> str:
        size = f", {self.memory / GIB:.0f} GiB" if self.memory else ""
        return f"{self.index} ({self.name}{size})"


def list_gpus(run: RunTool) -> tuple[Gpu, ...]:
    """Returns the GPUs that nvidia-smi lists; none if there is no driver."""
    result = run(GPU_QUERY)
    lines = result.stdout.splitlines() if result and not result.returncode else []
    rows = [[word.strip() for word in line.split(",", 4)] for line in lines if line.count(",") >= 4]
    return tuple(
        Gpu(index, uuid, int(mib) * 2**20 if mib.isdecimal() else 0, *rest) for index, uuid, mib, *rest in rows
    )


def check_gpus(
    env: Mapping[str, str], found: Sequence[Gpu], model: ModelSize | None, kv_gib: float
) -> Iterator[CheckResult]:
    """Checks that each engine has a GPU that is large enough.

    `model` is None if its size is unknown. If `kv_gib` is 0, vLLM chooses the KV cache's size.
    """
    if not found:
        advice = "install NVIDIA's driver, or do without GPUs: ./arena up --docker --cpu"
        yield bad("GPUs", "none found: nvidia-smi is missing or lists none", advice)
        return
    yield good("GPUs", ", ".join(map(str, found)))
    major, _, _ = found[0].driver.partition(".")
    if major.isdecimal() and int(major) < DRIVER:
        fact = f"{found[0].driver}; CUDA 13, which the image has, needs {DRIVER}.65.06 or newer"
        yield note("driver", fact, "install a newer one, unless NVIDIA's forward compatibility covers these GPUs")
    by_name = {name: gpu for gpu in found for name in (gpu.index, gpu.uuid)}
    engines = Counter[Gpu]()
    for variable, default in GPU_DEFAULTS.items():
        name = env.get(variable) or default
        if name in by_name:
            engines[by_name[name]] += 1
        elif not name.startswith("MIG-"):
            fact = f"{variable}={name}: there is no such GPU, only {', '.join(gpu.index for gpu in found)}"
            advice = f"set {variable} in .env to one of these; engines that share one also need KV_CACHE_MEMORY_GB"
            yield bad("GPU", fact, advice)
    yield from _check_sharing(engines, model, kv_gib)
    if model:
        yield from _check_gpu_memory(engines, model, kv_gib)


def _check_sharing(engines: Mapping[Gpu, int], model: ModelSize | None, kv_gib: float) -> Iterator[CheckResult]:
    for gpu, number in engines.items():
        if number > 1 and kv_gib:
            yield note("GPU", f"{number} engines share {gpu}, and their timings disturb one another")
        elif number > 1:
            fact = f"{number} engines are to share {gpu}, and the first takes nearly all of it"
            enough = f" to {model.shared_kv_gib:g}" if model and model.context else ""
            yield bad("GPU", fact, f"set KV_CACHE_MEMORY_GB in .env{enough}, so that each takes no more")


def _check_gpu_memory(engines: Mapping[Gpu, int], model: ModelSize, kv_gib: float) -> Iterator[CheckResult]:
    """Yields a result if vLLM would refuse `kv_gib`, and one about the GPU with the least memory to spare.

    Nothing is said of GPUs whose size is unknown.
    """
    if 0 < kv_gib * GIB < model.least_kv:
        fact = f"KV_CACHE_MEMORY_GB={kv_gib:g} does not hold a prompt of {model.context:,} tokens"
        advice = f"set it in .env to {model.shared_kv_gib:g}; vLLM does not start with less than "
        yield bad("KV cache", fact, f"{advice}{model.least_kv / GIB:.3f}")
    each = model.engine_bytes(kv_gib * GIB or model.least_kv)
    known = [gpu for gpu in engines if gpu.memory]
    if not known:
        return
    gpu = min(known, key=lambda gpu: gpu.memory - each * engines[gpu])
    needed = f"{engines[gpu]} engines take" if engines[gpu] > 1 else "an engine takes"
    total = each * engines[gpu] / GIB
    fact = f"{needed} about {total:.1f} GiB with this model (computed), GPU {gpu.index} has {gpu.memory / GIB:.1f}"
    less = "choose a larger GPU (GPU_* in .env) or a smaller MODEL"
    status = model.fit(gpu.memory, engines[gpu], kv_gib)
    if status is CheckStatus.GOOD:
        yield good("GPU memory", fact)
    elif status is CheckStatus.NOTE:
        fact += f", of which vLLM uses {VLLM_SHARE:.0%}: it will be close"
        yield note("GPU memory", fact, f"if an engine does not start, {less}")
    else:
        yield bad("GPU memory", fact, f"{less}, or turn down KV_CACHE_MEMORY_GB" if kv_gib else less)
