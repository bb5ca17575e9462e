"""Fakes the bench's output and result folder, for the page's tests.

One document is measured at once; two warm up for an hour; more take an hour to measure. Like the bench, it writes no
report after Ctrl+C, and no result during the warm-up.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

if sys.argv[1] == "compare":
    print("as good as it was")  # noqa: T201
    sys.exit()
if sys.argv[1] == "report":
    (Path(sys.argv[2]) / "report.html").write_text("<h1>Half a report</h1>")
    sys.exit()
kind, folder = sys.argv[1], Path(sys.argv[sys.argv.index("--result-dir") + 1])


def result(*, complete: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"kind": kind, "date": "2026-11-23", "complete": complete, "completed": 1}
    (folder / "result.json").write_text(json.dumps(content))


print("warming up: 8 requests that are not measured", flush=True)  # noqa: T201
if "1" in sys.argv:
    print("1/1 cold on plain-a: 20,000 ms", flush=True)  # noqa: T201
    result(complete=True)
    (folder / "report.html").write_text("<h1>A whole report</h1>")
    sys.exit()
try:
    time.sleep(3600 if "2" in sys.argv else 0)
    for step in range(1, 3600):
        print(f"{min(step, 9)}/9 cold on plain-a: {20_000 + step:,} ms; 50 min left", flush=True)  # noqa: T201
        result(complete=False)
        time.sleep(1)
except KeyboardInterrupt:
    print(f"kept in {folder}", flush=True)  # noqa: T201
    sys.exit(130)
