"""The page before fake engines, for its tests and for whoever works on it: `python tests/fake_arena.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fake_engine import Behaviour, FakeEngine, Volume, topology_of

from engines.ports import is_free
from engines.settings import Settings
from frontend.__main__ import launch
from frontend.app import build
from frontend.house import House
from frontend.restart import Restart
from frontend.studies import Studies

WORDS = (
    "FFmpeg copies, converts and streams **audio and video**, in `one` command:\n\n"
    "```bash\nffmpeg -i talk.mkv -c:v libx264 -crf 23 talk.mp4\n```\n\nThat is all there is to it."
)
ANSWER = tuple(word.replace("~", " ") for word in WORDS.replace("\n", "~\n").split(" "))
QUICK = Behaviour(answer=ANSWER, until_text=0.05, between=0.01, per_token=0.0002)


BENCH = (sys.executable, str(Path(__file__).with_name("fake_bench.py")))


@dataclass(frozen=True)
class FakeArena:
    """A page that is being served."""

    url: str
    engines: Sequence[FakeEngine]
    settings: Settings


@contextmanager
def fake_arena(behaviour: Behaviour = QUICK, port: int = 7960, **env: str) -> Iterator[FakeArena]:
    """Four engines of this behaviour, and the page on the first free port from `port` on."""
    volume = Volume()
    with ExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory())
        port = next(number for number in range(port, port + 100) if is_free(number))
        settings = Settings.from_env({"ARENA_HOME": home, "UI_PORT": str(port), **env})
        plain = [FakeEngine(name, behaviour) for name in ("plain-a", "plain-b")]
        shared = [FakeEngine(name, behaviour, volume) for name in ("lmcache-a", "lmcache-b")]
        engines = [stack.enter_context(fake) for fake in plain + shared]
        page = build(_house(engines, settings))
        launch(page, settings, wait=False)
        stack.callback(page.close, verbose=False)
        yield FakeArena(f"http://127.0.0.1:{port}", engines, settings)


def _house(engines: Sequence[FakeEngine], settings: Settings) -> House:
    house = House.of(topology_of(engines), settings, pinned=False)
    return replace(house, studies=Studies(house.track, BENCH), restart=FakeRestart(("restart",), engines))


@dataclass(frozen=True)
class FakeRestart(Restart):
    """Restarts the engine that is named last."""

    engines: Sequence[FakeEngine] = ()

    async def run(self, services: Sequence[str]) -> None:
        next(fake for fake in self.engines if fake.name == services[-1]).restart()


@contextmanager
def fake_arena_process(**behaviour: float) -> Iterator[str]:
    """The same in a process of its own, as the page always is; yields its address."""
    command = [sys.executable, __file__, json.dumps(behaviour)]
    with TemporaryDirectory() as results:
        env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "RESULTS_DIR": results}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                assert process.stdout
                yield process.stdout.readline().strip()
            finally:
                process.terminate()


if __name__ == "__main__":
    given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {"until_text": 0.2, "between": 0.03, "per_token": 0.0006}
    with fake_arena(replace(QUICK, **given)) as arena:
        print(arena.url, flush=True)  # noqa: T201
        threading.Event().wait()
