"""Which GPUs there are, which engine is to have which, and whether they are large enough."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from launch.check_result import CheckResult, CheckStatus
from launch.docker_engine import Run
from launch.requirements import GIB

DEFAULTS = {"GPU_PLAIN_A": "0", "GPU_PLAIN_B": "1", "GPU_LMCACHE_A": "2", "GPU_LMCACHE_B": "3"}
OVERHEAD, RUNTIME_GIB = 1.15, 2.0  # activations and graphs grow with the weights; the CUDA context does not
QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. `memory` in bytes, 0 where the driver does not tell."""

    index: str
    uuid: str
    memory: int
    name: str

    def __str__(self) -> str:
        return (
            f"{self.index} ({self.name}, {self.memory / GIB:.0f} GiB)" if self.memory else f"{self.index} ({self.name})"
        )


def list_gpus(run: Run) -> tuple[Gpu, ...]:
    """None found and no driver are the same."""
    result = run(QUERY)
    if result is None or result.returncode:
        return ()
    return tuple(_card(line) for line in result.stdout.splitlines() if line.count(",") >= 3)


def _card(line: str) -> Gpu:
    index, uuid, mib, name = (word.strip() for word in line.split(",", 3))
    return Gpu(index, uuid, int(mib) * 2**20 if mib.isdecimal() else 0, name)


def toolkit(
    runtimes: Sequence[str], devices: Sequence[str], which: Callable[[str], str | None] = shutil.which
) -> CheckResult:
    """Docker reaches a GPU by NVIDIA's runtime, by its hook, which Docker looks for itself, or by a CDI device."""
    if "nvidia" in runtimes or any(device.startswith("nvidia.com/") for device in devices):
        return CheckResult("NVIDIA toolkit", CheckStatus.GOOD, "known to Docker")
    if which("nvidia-container-runtime-hook"):
        return CheckResult("NVIDIA toolkit", CheckStatus.GOOD, "installed")
    return CheckResult(
        "NVIDIA toolkit",
        CheckStatus.BAD,
        "Docker knows neither NVIDIA's runtime nor a CDI device",
        "install nvidia-container-toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker && "
        "sudo systemctl restart docker; or do without GPUs: ./arena up --docker --cpu",
    )


def check_gpus(
    env: Mapping[str, str], found: Sequence[Gpu], weights: int | None, kv_gib: float
) -> Iterator[CheckResult]:
    """`weights` in bytes of one engine's model, None where unknown; `kv_gib` 0 leaves it to vLLM."""
    if not found:
        yield CheckResult(
            "GPUs",
            CheckStatus.BAD,
            "none found: nvidia-smi is missing or lists none",
            "install NVIDIA's driver, or do without GPUs: ./arena up --docker --cpu",
        )
        return
    yield CheckResult("GPUs", CheckStatus.GOOD, ", ".join(map(str, found)))
    chosen, missing = _chosen(env, found)
    yield from missing
    if chosen:
        yield from _sharing(chosen, kv_gib)
        yield from _fit(chosen, weights, kv_gib)


def _chosen(env: Mapping[str, str], found: Sequence[Gpu]) -> tuple[tuple[Gpu, ...], tuple[CheckResult, ...]]:
    """A card for each engine; a finding for each variable that names none."""
    by_name = {name: card for card in found for name in (card.index, card.uuid)}
    wanted = {variable: env.get(variable) or default for variable, default in DEFAULTS.items()}
    missing = tuple(
        CheckResult(
            "GPU",
            CheckStatus.BAD,
            f"{variable}={name}: there is no such GPU, only {', '.join(card.index for card in found)}",
            f"set {variable} in .env to one of these; engines that share one also need KV_CACHE_MEMORY_GB",
        )
        for variable, name in wanted.items()
        if name not in by_name and not name.startswith("MIG-")
    )
    return tuple(by_name[name] for name in wanted.values() if name in by_name), missing


def _sharing(chosen: Sequence[Gpu], kv_gib: float) -> Iterator[CheckResult]:
    for card, engines in Counter(chosen).items():
        if engines > 1 and kv_gib:
            yield CheckResult(
                "GPU", CheckStatus.NOTE, f"{engines} engines share {card}, and their timings disturb one another"
            )
        elif engines > 1:
            yield CheckResult(
                "GPU",
                CheckStatus.BAD,
                f"{engines} engines are to share {card}, and the first takes nearly all of it",
                "set KV_CACHE_MEMORY_GB in .env, so that each takes no more",
            )


def _fit(chosen: Sequence[Gpu], weights: int | None, kv_gib: float) -> Iterator[CheckResult]:
    """One finding, about the card that has the least to spare; none where a size is unknown."""
    if weights is None:
        return
    one = OVERHEAD * weights / GIB + RUNTIME_GIB + kv_gib
    spare = {card: card.memory / GIB - one * engines for card, engines in Counter(chosen).items() if card.memory}
    if not spare:
        return
    card = min(spare, key=lambda card: spare[card])
    engines = chosen.count(card)
    needed = f"{engines} engines take" if engines > 1 else "an engine takes"
    fact = f"{needed} about {one * engines:.1f} GiB with this model, GPU {card.index} has {card.memory / GIB:.1f}"
    if spare[card] >= 0:
        yield CheckResult("GPU memory", CheckStatus.GOOD, fact)
    else:
        less = "choose a larger GPU (GPU_* in .env) or a smaller MODEL"
        yield CheckResult(
            "GPU memory", CheckStatus.BAD, fact, f"{less}, or turn down KV_CACHE_MEMORY_GB" if kv_gib else less
        )
