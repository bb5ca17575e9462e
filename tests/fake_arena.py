"""The page with fake engines, for its tests and for development: `python tests/fake_arena.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fake_engine import Behaviour, FakeEngine, Volume, topology_of
from fakes import a_reply

from client.measurement_lock import MeasurementLock
from client.prompt import Prompt
from config.paths import results_folder
from config.settings import Settings
from frontend.app import build
from frontend.app_state import AppState
from frontend.bench_runs import BenchRunner
from frontend.race import REPAINT_S, Pane, PaneStatus, ask_all
from frontend.restart import Restart
from frontend.server import launch
from frontend.sessions import SessionStore, TabSession
from frontend.tab_state import TabState
from launch.ports import is_free

WORDS = (
    "FFmpeg copies, converts and streams **audio and video**, in `one` command:\n\n"
    "```bash\nffmpeg -i talk.mkv -c:v libx264 -crf 23 talk.mp4\n```\n\nThat is all there is to it. You asked:"
)
ANSWER = tuple(word.replace("~", " ") for word in WORDS.replace("\n", "~\n").split(" "))
QUICK = Behaviour(answer=ANSWER, echoes=True, until_text=0.05, between=0.01, per_token=0.0002)
BENCH = (sys.executable, str(Path(__file__).with_name("fake_bench.py")))


@dataclass(frozen=True)
class Served:
    """The URLs of a page and, by name, of its engines."""

    url: str
    engines: Mapping[str, str]


@contextmanager
def fake_arena(behaviour: Behaviour, *, pinned: bool, rows: int, port: int = 7960) -> Iterator[Served]:
    """Serves four engines with this behaviour, and the page on the first free port from `port` on."""
    volume = Volume()
    with ExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory())
        port = next(number for number in range(port, port + 100) if is_free(number))
        settings = Settings.from_env({"ARENA_HOME": home, "UI_PORT": str(port)})
        plain = [FakeEngine(name, behaviour) for name in ("plain-a", "plain-b")]
        shared = [FakeEngine(name, behaviour, volume) for name in ("lmcache-a", "lmcache-b")]
        engines = [stack.enter_context(fake) for fake in plain + shared]
        page = build(_app(engines, settings, pinned, rows))
        launch(page, settings, wait=False)
        stack.callback(page.close, verbose=False)
        yield Served(f"http://127.0.0.1:{port}", {fake.name: fake.engine.url for fake in engines})


def _app(engines: Sequence[FakeEngine], settings: Settings, pinned: bool, rows: int) -> AppState:
    lock = MeasurementLock.of(os.environ)
    app = AppState.of(topology_of(engines), settings, gpu_per_engine=pinned, lock=lock)
    start, ask = TabState.with_handbook(app.topology.engines), partial(ask_all, pause_s=0 if pinned else REPAINT_S)
    return replace(
        app,
        sessions=FakeSessions(rows, start, app.queue, ask),
        bench_runner=BenchRunner(app.queue, results_folder(), BENCH),
        restart=FakeRestart(("restart",), engines),
    )


class FakeSessions(SessionStore):
    """Sessions in which every visitor's history already has `rows` rows."""

    def __init__(self, rows: int, *given: Any) -> None:
        super().__init__(*given)
        self.rows = rows

    def attach_visitor(self, key: str, token: str) -> TabSession:
        tab = super().attach_visitor(key, token)
        history, engines = tab.visitor.history, tab.state.engines
        while history.count < self.rows:
            engine = engines[history.count % len(engines)]
            prompt = Prompt(f"Question {history.count + 1}", tab.state.document, tab.state.nonce)
            reply = a_reply(engine, ttft=0.2 + history.count % 7)
            sent = time.time() - 5 * (self.rows - history.count)
            history.add(Pane(engine.name, PaneStatus.DONE, prompt, sent=sent, reply=reply), tab.state.name)
        return tab


@dataclass(frozen=True)
class FakeRestart(Restart):
    """Restarts the last of the named engines."""

    engines: Sequence[FakeEngine] = ()

    async def run(self, services: Sequence[str]) -> None:
        next(fake for fake in self.engines if fake.name == services[-1]).restart()


@contextmanager
def fake_arena_process(*, pinned: bool = False, rows: int = 0, **behaviour: object) -> Iterator[Served]:
    """Runs `fake_arena` in a process of its own, as the page always does. Every history starts with `rows` rows."""
    command = [sys.executable, __file__, json.dumps({"pinned": pinned, "rows": rows, **behaviour})]
    with TemporaryDirectory() as results:
        env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "RESULTS_DIR": results}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                assert process.stdout
                yield Served(**json.loads(process.stdout.readline()))
            finally:
                process.terminate()


if __name__ == "__main__":
    given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {"until_text": 0.2, "between": 0.03, "per_token": 0.0006}
    many = {"pinned": given.pop("pinned", False), "rows": given.pop("rows", 0)}
    with fake_arena(replace(QUICK, **given), **many) as arena:
        print(json.dumps(asdict(arena)), flush=True)  # noqa: T201
        threading.Event().wait()
