"""`python -m launch.service_exec NAME`: becomes a service, with the command and the environment that `up` wrote for it.

They are read from a file, because supervisord's configuration cannot quote every value, and a service inherits from it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

SERVICES = "ARENA_SERVICES"  # the file's name, in supervisord's environment


def write_services(file: Path, services: Mapping[str, tuple[Sequence[str], Mapping[str, str]]]) -> None:
    """Each service's command and whole environment, by name."""
    file.touch(mode=0o600)
    file.write_text(json.dumps({name: [list(argv), dict(env)] for name, (argv, env) in services.items()}, indent=1))


def exec_service(name: str) -> NoReturn:
    argv, env = json.loads(Path(os.environ[SERVICES]).read_text())[name]
    os.execve(argv[0], argv, env)  # noqa: S606


if __name__ == "__main__":
    exec_service(sys.argv[1])
