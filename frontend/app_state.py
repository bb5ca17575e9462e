"""What all visitors of one page share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import gradio as gr

from client.measurement_lock import MeasurementLock
from config.errors import ConfigError, StackError
from config.paths import results_folder
from config.recipe import find_recipe
from config.settings import Settings
from config.topology import Engine, ServiceKind, Topology
from frontend.bars import title
from frontend.bench_runs import BenchRunner
from frontend.link import ShareLink
from frontend.measurement_queue import MeasurementQueue
from frontend.model_info import model_name
from frontend.race import AskStream, ask_after_repaint, ask_engine
from frontend.restart import Restart
from frontend.sessions import SessionStore, TabSession
from frontend.tab_state import TabState


@dataclass(frozen=True)
class AppState:
    """`pinned`: each engine has a GPU of its own. `locked` says why visitors may restart and run nothing, if so."""

    topology: Topology
    settings: Settings
    pinned: bool
    track: MeasurementQueue
    reception: SessionStore
    studies: BenchRunner
    restart: Restart = field(default_factory=Restart.of)
    locked: str = ""

    @classmethod
    def of(
        cls,
        topology: Topology,
        settings: Settings,
        *,
        pinned: bool,
        lock: MeasurementLock | None = None,
        locked: str = "",
    ) -> AppState:
        """With nobody in it."""
        track = MeasurementQueue(lock)
        recipe = find_recipe(settings.model)
        start = TabState.of_the_handbook(topology.engines, model_name(settings))
        start = replace(start, stand_in=recipe is not None and recipe.stand_in)
        studies = BenchRunner(track, results_folder())
        return cls(topology, settings, pinned, track, SessionStore(start), studies, locked=locked)

    def must_be_open(self) -> None:
        """Raises ConfigError where visitors may restart and run nothing."""
        if self.locked:
            raise ConfigError(self.locked)

    def desk(self, session: str | None) -> TabSession:
        """Of the tab with this session. Raises gr.Error, which its visitor sees, for one that was closed."""
        try:
            return self.reception.desk(str(session))
        except StackError as exc:
            raise gr.Error(str(exc), title="Not connected", print_exception=False) from exc

    @property
    def ask(self) -> AskStream:
        """How this house asks an engine."""
        return ask_engine if self.pinned else ask_after_repaint

    def engines_of(self, target: str) -> tuple[Engine, ...]:
        """All, one pair, or one engine. Raises ConfigError for a name that is none."""
        if target == "all":
            return self.topology.engines
        if target in (ServiceKind.PLAIN, ServiceKind.LMCACHE):
            return tuple(engine for engine in self.topology.engines if engine.kind == target)
        return (self.topology.engine(target),)

    def targets(self) -> list[tuple[str, str]]:
        """Titles and values of the choice of whom to ask."""
        kinds = {engine.kind for engine in self.topology.engines}
        groups = (
            [("All", "all"), ("LMCache pair", "lmcache"), ("Plain pair", "plain")]
            if len(kinds) > 1
            else [("Both", "all")]
        )
        return groups + [(title(engine), engine.name) for engine in self.topology.engines]

    def target_of(self, link: ShareLink) -> str:
        """The link's, where there is such a one."""
        return link.target if link.target in {value for _, value in self.targets()} else "all"
