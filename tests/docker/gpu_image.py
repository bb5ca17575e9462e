"""What can be proved of the image of engines/Dockerfile without a GPU: tests/docker/gpu-image runs this in it."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from config.settings import load_settings
from config.topology import Topology
from engines.vllm_command import vllm_command

SETTINGS, _ = load_settings(os.environ)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
# LMCache takes these in older versions only; the last two are pinned, and vLLM's own image has them in some version.
MAY_MOVE = re.compile(r"numpy|protobuf|grpcio|prometheus_client|setuptools|opentelemetry-.*|lmcache|accelerate")
# Left over when OpenTelemetry was moved; nothing imports them.
LEFT_OVER = ("opentelemetry-exporter-otlp-common ", "opentelemetry-exporter-http-transport ")
SCRIPTS = ("engines.gguf_to_hf", "engines.multimodal_stub")  # run as programs
DRIVER = ("cuCtxGetCurrent", "cuMemGetAddressRange", "cuStreamWriteValue64", "cuStreamWaitValue64")
RUNTIME = ("cudaIpcGetMemHandle", "cudaIpcOpenMemHandle", "cudaIpcCloseMemHandle")


def pinned_versions():
    """vLLM, LMCache and torch are those that the CPU form has been measured with, and torch is built for CUDA"""
    pins = re.findall(r"^(torch|vllm|lmcache)\S*==([\d.]+)", Path("/test/engines.in").read_text(), re.MULTILINE)
    assert len(pins) == 3, pins
    assert torch.version.cuda, f"torch {torch.__version__} is built for the CPU"
    for name, pin in pins:
        assert version(name).split("+")[0] == pin, f"{name} is {version(name)}, and {pin} is pinned"
    return f"{dict(pins)}, torch {torch.__version__}"


def what_vllm_brought():
    """nothing that vLLM brought has moved, except what LMCache takes in older versions only"""
    brought, here = freeze(Path("/test/brought").read_text()), freeze(pip("freeze"))
    moved = {name: f"{old} -> {here.get(name)}" for name, old in brought.items() if here.get(name) != old}
    assert all(MAY_MOVE.fullmatch(name) for name in moved), moved
    complaints = [line for line in pip("check").splitlines() if " has requirement " in line or " requires " in line]
    assert all(line.startswith(LEFT_OVER) for line in complaints), complaints
    return f"{len(brought)} packages, {len(moved)} moved: {moved}"


def freeze(text):
    return dict(re.findall(r"^(\S+?)(?:==| @ )(\S+)$", text, re.MULTILINE))


def pip(*arguments):
    return subprocess.run([*PIP, *arguments], capture_output=True, text=True).stdout


def lmcache_operations():
    """LMCache's CUDA operations load with this torch, and are what LMCache uses instead of its slow ones in Python"""
    from lmcache.v1.platform import resolve_device_ops, torch_ops

    native = importlib.import_module("lmcache.cuda_ops")
    for name in ("lmcache_native", "lmcache_fs"):  # the key's hash; the volume
        importlib.import_module(f"lmcache.{name}")
    operations = resolve_device_ops("cuda")
    operations.ensure_native()
    names = [name for name in dir(native) if callable(getattr(torch_ops, name, None)) and name[0].islower()]
    assert "multi_layer_block_kv_transfer" in names, names
    slow = [name for name in names if getattr(operations, name) is not getattr(native, name)]
    assert not slow, slow
    return f"{len(names)} operations of {Path(native.__file__).name}, and no driver's library was needed"


def connector():
    """vLLM takes a connector that is LMCache's own"""
    from vllm.config import KVTransferConfig
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

    argv = vllm_command(Topology.of(SETTINGS).engine("lmcache-a"), SETTINGS).argv
    config = KVTransferConfig(**json.loads(argv[argv.index("--kv-transfer-config") + 1]))
    found = KVConnectorFactory.get_connector_class(config)
    upstream = found.__mro__[1]
    assert found.__module__ == "engines.lmcache_connector", found
    assert upstream.__module__ == "lmcache.integration.vllm.lmcache_mp_connector", upstream
    return f"{found.__module__}.{found.__name__} of {upstream.__module__}"


def isolated_ipc():
    """what isolated IPC needs is installed: CUDA's bindings and CuPy"""
    import cupy
    from cuda.bindings import driver, runtime
    from lmcache.v1.platform.devices.cuda import CudaDeviceSpec
    from lmcache.v1.platform.ipc_policy import set_isolated_ipc

    set_isolated_ipc(True)
    chosen = (CudaDeviceSpec().ipc_wrapper_cls.__name__, type(CudaDeviceSpec().event_ipc_backend).__name__)
    assert chosen == ("RawCudaIPCWrapper", "TimelineSemaphoreEventIPCBackend"), chosen
    assert all(hasattr(driver, name) for name in DRIVER)
    assert all(hasattr(runtime, name) for name in RUNTIME)
    return f"cuda-bindings {version('cuda-bindings')}, cupy {cupy.__version__}: {' and '.join(chosen)}"


def our_packages():
    """every module of ours imports"""
    packages = ("config", "media", "client", "engines", "cache")
    names = [m.name for p in packages for m in pkgutil.walk_packages([f"/app/{p}"], f"{p}.") if m.name not in SCRIPTS]
    for name in names:
        importlib.import_module(name)
    return f"{len(names)} modules; httpx {version('httpx')}"


def media_packages():
    """vLLM can read images, films and sounds"""
    names = ("PIL", "cv2", "av", "soundfile", "soxr", "scipy", "torchvision", "torchaudio")
    for name in names:
        importlib.import_module(name)
    return ", ".join(names)


def code_of_models():
    """transformers can copy a model's own code to where it imports it, though the hub's cache is mounted read-only"""
    program = "import transformers.dynamic_module_utils as t; t.init_hf_modules(); print(t.HF_MODULES_CACHE)"
    environment = {**os.environ, "HF_HOME": str(SETTINGS.local_hf_home)}  # as vllm_command sets it
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    return done.stdout.strip()


CHECKS = (
    *(pinned_versions, what_vllm_brought, lmcache_operations, connector, isolated_ipc, our_packages),
    *(media_packages, code_of_models),
)


def holds(check):
    try:
        print(f"gpu-image: {check.__doc__}: {check()}", flush=True)
    except Exception as exc:  # noqa: BLE001 - the other checks are of interest, too
        print(f"gpu-image: NOT TRUE: {check.__doc__}: {type(exc).__name__}: {exc}", flush=True)
        return False
    return True


if __name__ == "__main__":
    results = [holds(check) for check in CHECKS]
    sys.exit(not all(results))
