"""The bench's lines and folder without its engines, for the page's tests: an hour of work, until Ctrl+C."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

if sys.argv[1] == "compare":
    print("as good as it was")  # noqa: T201
    sys.exit()
folder = Path(sys.argv[sys.argv.index("--result-dir") + 1])
try:
    for step in range(1, 3600):
        print(f"{min(step, 9)}/9 cold on plain-a: {20_000 + step:,} ms; 50 min left", flush=True)  # noqa: T201
        time.sleep(1)
except KeyboardInterrupt:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"kind": sys.argv[1], "date": "2026-11-23", "complete": False}))
    (folder / "report.html").write_text("<h1>Half a report</h1>")
    print(f"kept in {folder}", flush=True)  # noqa: T201
    sys.exit(130)
