"""What all visitors of one page share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import gradio as gr

from engines.errors import ConfigError, StackError
from engines.measurement_lock import MeasurementLock
from engines.recipe import find
from engines.results import results_folder
from engines.settings import Settings
from engines.topology import Engine, Kind, Topology
from frontend.bars import title
from frontend.desk import Desk, Reception
from frontend.link import Link
from frontend.model_note import model_name
from frontend.race import Ask, in_calm, measured
from frontend.restart import Restart
from frontend.studies import Studies
from frontend.track import Track
from frontend.visitor import Visit


@dataclass(frozen=True)
class House:
    """`pinned`: each engine has a GPU of its own. `locked` says why visitors may restart and run nothing, if so."""

    topology: Topology
    settings: Settings
    pinned: bool
    track: Track
    reception: Reception
    studies: Studies
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
    ) -> House:
        """With nobody in it."""
        track = Track(lock)
        recipe = find(settings.model)
        start = Visit.of_the_handbook(topology.engines, model_name(settings))
        start = replace(start, stand_in=recipe is not None and recipe.stand_in)
        studies = Studies(track, results_folder())
        return cls(topology, settings, pinned, track, Reception(start), studies, locked=locked)

    def must_be_open(self) -> None:
        """Raises ConfigError where visitors may restart and run nothing."""
        if self.locked:
            raise ConfigError(self.locked)

    def desk(self, session: str | None) -> Desk:
        """Of the tab with this session. Raises gr.Error, which its visitor sees, for one that was closed."""
        try:
            return self.reception.desk(str(session))
        except StackError as exc:
            raise gr.Error(str(exc), title="Not connected", print_exception=False) from exc

    @property
    def ask(self) -> Ask:
        """How this house asks an engine."""
        return measured if self.pinned else in_calm

    def engines_of(self, target: str) -> tuple[Engine, ...]:
        """All, one pair, or one engine. Raises ConfigError for a name that is none."""
        if target == "all":
            return self.topology.engines
        if target in (Kind.PLAIN, Kind.LMCACHE):
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

    def target_of(self, link: Link) -> str:
        """The link's, where there is such a one."""
        return link.target if link.target in {value for _, value in self.targets()} else "all"
