"""The state that all visitors to the page share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import gradio as gr

from client.measurement_lock import MeasurementLock
from config.errors import ConfigError, StackError
from config.paths import results_folder
from config.recipe import find_recipe
from config.settings import Settings
from config.topology import Engine, ServiceKind, Topology
from frontend.bars import title
from frontend.bench_runs import BenchRunner
from frontend.measurement_queue import MeasurementQueue
from frontend.model_info import model_name
from frontend.race import REPAINT_S, ask_all, ask_groups
from frontend.restart import Restart
from frontend.sessions import SessionStore, TabSession
from frontend.tab_state import TabState


@dataclass(frozen=True)
class AppState:
    """`read_only_reason` is why visitors may not restart engines or run benchmarks; it is empty if they may."""

    topology: Topology
    settings: Settings
    gpu_per_engine: bool
    queue: MeasurementQueue
    sessions: SessionStore
    bench_runner: BenchRunner
    restart: Restart = field(default_factory=Restart.of)
    read_only_reason: str = ""

    @classmethod
    def of(
        cls,
        topology: Topology,
        settings: Settings,
        *,
        gpu_per_engine: bool,
        lock: MeasurementLock | None = None,
        read_only_reason: str = "",
    ) -> AppState:
        """Returns the state of a page that has no visitors yet."""
        queue = MeasurementQueue(lock)
        recipe = find_recipe(settings.model)
        start = TabState.with_handbook(topology.engines, model_name(settings))
        start = replace(start, random_media_weights=recipe is not None and recipe.stand_in)
        # on shared cores, a pause lets a browser on this machine draw before the request instead of while it is timed
        sessions = SessionStore(start, queue, partial(ask_all, pause_s=0 if gpu_per_engine else REPAINT_S))
        bench_runner = BenchRunner(queue, results_folder())
        return cls(topology, settings, gpu_per_engine, queue, sessions, bench_runner, read_only_reason=read_only_reason)

    def check_not_read_only(self) -> None:
        """Raises ConfigError if visitors may not restart engines or run benchmarks."""
        if self.read_only_reason:
            raise ConfigError(self.read_only_reason)

    def session(self, session_hash: str | None) -> TabSession:
        """Returns this session's tab. Raises gr.Error, which the visitor sees, if it was closed or dropped."""
        try:
            return self.sessions.session(str(session_hash))
        except StackError as exc:
            raise gr.Error(str(exc), title="Not connected", print_exception=False) from exc

    def groups_of(self, target: str) -> tuple[tuple[Engine, ...], ...]:
        """Groups a target's engines (all, one pair, or a single engine). Raises ConfigError for an unknown name."""
        engines = tuple(engine for engine in self.topology.engines if target in ("all", engine.kind))
        return ask_groups(engines or (self.topology.engine(target),), gpu_per_engine=self.gpu_per_engine)

    def targets(self) -> list[tuple[str, str]]:
        """Returns the title and value of each choice of engines to ask."""
        several = len({engine.kind for engine in self.topology.engines}) > 1
        pairs = [("All", "all"), ("LMCache pair", ServiceKind.LMCACHE.value), ("Plain pair", ServiceKind.PLAIN.value)]
        groups = pairs if several else [("Both", "all")]
        return groups + [(title(engine), engine.name) for engine in self.topology.engines]
