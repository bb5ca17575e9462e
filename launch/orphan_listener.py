"""A listener of supervisord's events: when a service has died, what it left behind is ended before it starts again."""

from __future__ import annotations

import os
import sys

from supervisor import childutils

from launch import orphans


def main() -> None:
    """Answers each event with OK; supervisord ends this process with itself."""
    while True:
        headers, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        killed = orphans.kill_orphans(os.getsid(0))
        if killed:
            sys.stderr.write(f"{headers['eventname']} {payload}: killed {killed}\n")
            sys.stderr.flush()
        childutils.listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
