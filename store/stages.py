"""How many draws the second stage has, as the plan holds it: found once, then only read.

An entry says it for one architecture and one kind of measurement, strength by strength, the same
for all regimes and seeds. How it is found: `analysis.stages`. Where two plans come together, as in
a merge, the larger number counts, in whichever order they come.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, fields

from config import Sweep

MOST_DRAWS = 20
"""Draws beyond which `Sweep.two_stage` asks for no more: they take more time than they save."""
MOST = 1_000_000
"""Draws above which a number is none."""


@dataclass(frozen=True)
class Stage:
    """The draws of the second stage of one architecture under some settings."""

    architecture: str
    settings: tuple[tuple[str, int | str], ...]
    """The settings of the measurements, in the order of their names."""
    precision: float
    """That of which it is the second stage; 0 = of `Sweep.two_stage`."""
    draws: tuple[tuple[float, int], ...]
    """How many draws there are in all, by strength > 0, ascending."""

    @property
    def key(self) -> tuple:
        """What it is for."""
        return self.architecture, self.settings, self.precision


@dataclass(frozen=True)
class Staged(Sweep):
    """A sweep with what is known of its second stage."""

    stages: tuple[Stage, ...] = ()
    """Of every architecture of a plan."""


def with_stages(sweep: Sweep, stages: tuple[Stage, ...]) -> Sweep:
    """Return a sweep with what a plan holds of its second stage; itself if that is nothing."""
    if not (sweep.staged and stages):
        return sweep
    knobs = {f.name: getattr(sweep, f.name) for f in fields(Sweep)}
    return Staged(**knobs, stages=stages)


def key_of(architecture: str, settings: dict, precision: float) -> tuple:
    """Return the key of what an entry is for."""
    return architecture, tuple(sorted(settings.items())), precision


def targets_of(sweep: Sweep) -> list[float]:
    """Return what a sweep has second stages of: see `Stage.precision`."""
    return [0.0] * sweep.two_stage + [sweep.precision] * (sweep.precision > 0)


def numbers_of(sweep: Sweep, architecture: str, settings: dict) -> list[Stage]:
    """Return the entries that hold for a sweep of one architecture under some settings."""
    keys = [key_of(architecture, settings, target) for target in targets_of(sweep)]
    return [stage for stage in getattr(sweep, "stages", ()) if stage.key in keys]


def draws_at(stages: Iterable[Stage], strength: float, least: int) -> int:
    """Return how many draws a strength has in all.

    One that an entry does not name, because not every run has it, has the larger number of those
    that are named on either side of it.
    """
    found = [least]
    for stage in stages:
        named = [at for at, _ in stage.draws]
        spot = bisect_left(named, strength)
        exact = spot < len(named) and named[spot] == strength
        beside = stage.draws[spot : spot + 1] if exact else stage.draws[max(0, spot - 1) : spot + 1]
        found += [number for _, number in beside]
    return max(found)


def united_stages(first: Iterable[Stage], then: Iterable[Stage]) -> tuple[Stage, ...]:
    """Return the entries of two plans: of each strength the larger number."""
    every: dict[tuple, dict[float, int]] = {}
    for stage in (*first, *then):
        mine = every.setdefault(stage.key, {})
        for strength, number in stage.draws:
            mine[strength] = max(number, mine.get(strength, 0))
    return tuple(Stage(*key, tuple(sorted(every[key].items()))) for key in sorted(every, key=repr))


def as_data(stage: Stage) -> dict:
    """Return an entry as plain JSON data."""
    named = {"architecture": stage.architecture, "settings": dict(stage.settings)}
    return {**named, "precision": stage.precision, "draws": [list(pair) for pair in stage.draws]}


def from_data(body: dict) -> Stage:
    """Return the entry that JSON data describes; ValueError, TypeError or LookupError if none."""
    draws = tuple((float(strength), number) for strength, number in body["draws"])
    stage = Stage(*key_of(body["architecture"], body["settings"], body["precision"]), draws)
    strengths = [strength for strength, _ in draws]
    good = (
        body.keys() == {"architecture", "settings", "precision", "draws"}
        and isinstance(stage.architecture, str)
        and all(type(value) in (int, str) for _, value in stage.settings)
        and type(stage.precision) in (int, float)
        and 0 <= stage.precision < 0.5
        and all(0 < strength < math.inf for strength in strengths)
        and strengths == sorted({*strengths})
        and all(type(number) is int and 0 < number <= MOST for _, number in draws)
    )
    if not good:
        raise ValueError("a second stage of draws is none")
    return stage
