"""Restarts services with the command in RESTART_COMMAND, set by whoever started the page."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.errors import StackError


@dataclass(frozen=True, slots=True)
class Restart:
    """Service names are appended to `command`, which is empty if the page may not restart anything."""

    command: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Restart:
        """Reads RESTART_COMMAND, which `./arena up` sets."""
        return cls(tuple(shlex.split(environ.get("RESTART_COMMAND", ""))))

    async def run(self, services: Sequence[str]) -> None:
        """Returns once the services are starting. Raises StackError if the command fails."""
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*self.command, *services, stdout=pipe, stderr=pipe)
        _, stderr = await child.communicate()
        if child.returncode:
            raise StackError(f"the restart failed: {stderr.decode(errors='replace').strip()[:300]}")
