"""How the page restarts a service: by a command that whoever started the page has named."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from config.errors import StackError


@dataclass(frozen=True, slots=True)
class Restart:
    """`command` is followed by names of services; it is empty where the page may restart nothing."""

    command: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Restart:
        """RESTART_COMMAND, as `./arena up` sets it."""
        return cls(tuple(shlex.split(environ.get("RESTART_COMMAND", ""))))

    async def run(self, services: Sequence[str]) -> None:
        """Returns when the services are starting. Raises StackError when the command fails."""
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*self.command, *services, stdout=pipe, stderr=pipe)
        _, stderr = await child.communicate()
        if child.returncode:
            raise StackError(f"the restart failed: {stderr.decode(errors='replace').strip()[:300]}")
