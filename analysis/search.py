"""Where a sweep goes on to find the break of a model: pure functions of the rows. No torch.

A model breaks at the strength at which its accuracy is halfway between that without noise and
chance. The search climbs a fixed ladder of rungs, the same for all seeds and regimes: the strengths
that are asked for, then those of the noise family (`Family.beyond`). It climbs with draw 0 alone,
until that is at or below halfway, measures all draws up to that rung, climbs on where their mean is
still above, and halves the interval of the crossing, on a log scale, `HALVINGS` times. Draws are
common to all strengths, so the mean falls smoothly, and the crossing is sharp.

Whichever of two regimes of a seed breaks first goes on to the rung at which the other does, so that
they can be compared at every rung. What is asked for depends on rows alone: a sweep that was killed
goes on to the same record as one that was not. At the end of the ladder the search ends: the break
is then beyond it.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from config import Sweep
from noises.family import Family

HALVINGS = 2
"""Halvings of the interval between two rungs: what remains is a tenth of a strength wide."""


class Search(NamedTuple):
    """What to measure as far as the rows tell."""

    rungs: tuple[float, ...]
    """Strengths of the ladder, > 0, that take all draws."""
    between: tuple[float, ...] = ()
    """Strengths between two rungs, at the break, that take all draws."""
    probe: float | None = None
    """The rung to try with draw 0 before anything else is known."""


def search(
    accuracy: Mapping[tuple[float, int, int], float],
    sweep: Sweep,
    family: Family,
    chance: float,
    least: float = 0.0,
) -> Search:
    """Return which strengths to measure.

    Args:
        accuracy: fractions by (strength, draw, sign), as far as they were measured.
        sweep: of one family: its `alphas` are measured in any case.
        family: says how far the ladder goes.
        chance: accuracy of guessing.
        least: a rung up to which to go whatever this model does: that of another regime.
    """
    asked = tuple(sorted(a for a in sweep.alphas if a > 0))
    if not sweep.find_break:
        return Search(asked)
    start = accuracy.get((0.0, 0, 1))
    if start is None:
        return Search(asked, probe=0.0)
    rungs = (*asked, *(b for b in family.beyond if b > max(asked, default=0.0)))
    forced = sum(rung <= max(least, *asked, 0.0) for rung in rungs)
    if start <= chance:
        return Search(rungs[:forced])  # there is nothing to fall from
    half = (start + chance) / 2

    count = 0
    for count, rung in enumerate(rungs, start=1):
        tried = accuracy.get((rung, 0, 1))
        if tried is None:
            return Search(rungs[: max(forced, count - 1)], probe=rung)
        if tried <= half:
            break
    count = max(count, forced)
    means = [mean_of(accuracy, rung, sweep.first_draws) for rung in rungs[:count]]
    while None not in means and min(means) > half and count < len(rungs):
        means.append(mean_of(accuracy, rungs[count], sweep.first_draws))
        count += 1
    if None in means or not family.divisible:
        return Search(rungs[:count])
    crossed = next((i for i, mean in enumerate(means) if mean <= half), 0)
    ends = rungs[crossed - 1 : crossed + 1] if crossed else ()
    return Search(rungs[:count], halve(accuracy, ends, half, sweep.first_draws))


def halve(
    accuracy: Mapping[tuple[float, int, int], float], ends: tuple, half: float, draws: int
) -> tuple[float, ...]:
    """Return the strengths between two rungs that close in on the crossing, as far as is known."""
    found: list[float] = []
    for _ in range(HALVINGS if ends else 0):
        low, high = ends
        middle = float(f"{math.sqrt(low * high):.3g}")  # three digits: the same on every machine
        found.append(middle)
        mean = mean_of(accuracy, middle, draws)
        if mean is None:
            break
        ends = (middle, high) if mean > half else (low, middle)
    return tuple(sorted(found))


def mean_of(
    accuracy: Mapping[tuple[float, int, int], float], strength: float, draws: int
) -> float | None:
    """Return the mean over the first draws; None where one is missing. Later draws do not count:
    they would move what was asked for."""
    found = [accuracy.get((strength, draw, 1)) for draw in range(draws)]
    return None if None in found else sum(found) / draws
