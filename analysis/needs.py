"""Which measurements of a sweep are still to be made: pure functions of the rows. No torch.

With `Sweep.precision` the number of draws is found while measuring, α by α: draws 0, 1, 2, … are
made until the 95% t-interval of the mean accuracy over the first n of them has a half-width of at
most the precision, for some n of at least `Sweep.first_draws`, or until there are
`Sweep.most_draws`. What is asked for next depends on nothing but the rows: a sweep that was killed
goes on to the same record as one that was not, and a coarser precision asks for the first draws of
a finer one. More rows, such as a merge brings, never reopen an α that was finished.

An interval from a rule that stops when it is short covers a little less than it says (Chow and
Robbins, 1965: 95% in the limit of fine precision); ten draws at least keep that small. It serves
to spend draws where they matter: the intervals of the report are those over seeds.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from config import Sweep
from noises import FAMILIES
from store.files import Damaged
from store.records import Record, curvature_block, rows

Point = tuple[float, int, int]  # (alpha, draw, sign)


class Block(NamedTuple):
    """Measurements that a record lacks, all of one kind."""

    images: str
    """Which images: "test" or "training"; "traces" for the Hessian's, on the training images."""
    settings: dict
    """Those under which they are kept."""
    points: list[Point]
    """What to measure next, in this order; of traces [(0, 0, 1)], which are one measurement."""


def needs(record: Record | None, sweep: Sweep) -> list[Block]:
    """Return what a sweep asks for and a record (or None) lacks; [] if it is complete.

    What is asked for may depend on what was measured (`Sweep.precision`): ask again when the first
    block is done. On training images every α has the draws asked for, for a precision is one of
    accuracy on the test images.
    """
    asked = [("test", sweep.settings, sweep)]
    asked += [("test", sweep.settings_of(name), part) for name, part in family_sweeps(sweep)]
    if sweep.antithetic:
        asked.append(("training", sweep.training_settings, replace(sweep, precision=0.0)))
    blocks = [
        Block(images, settings, lacking(rows(record, settings) if record else [], part))
        for images, settings, part in asked
    ]
    if sweep.antithetic and not (record and curvature_block(record, sweep.trace_settings)):
        blocks.append(Block("traces", sweep.trace_settings, [(0.0, 0, 1)]))
    return [block for block in blocks if block.points]


def family_sweeps(sweep: Sweep) -> list[tuple[str, Sweep]]:
    """Return each further noise family that a sweep asks for, with the sweep of it alone."""
    found = [(name, FAMILIES[name]) for name in sweep.families]
    return [(n, sweep.of_family(n, None if f.random else 1, f.signed)) for n, f in found]


def check_families(sweep: Sweep) -> None:
    """Raise Damaged where a sweep, as a plan holds it, names a noise family that is not known."""
    if unknown := sweep.families.keys() - FAMILIES.keys():
        raise Damaged(f"the plan asks for noise that is not known here: {', '.join(unknown)}")


def is_complete(record: Record | None, sweep: Sweep) -> bool:
    """Return whether a record (or None) holds all that a sweep asks for."""
    return record is not None and not needs(record, sweep)


def lacking(rows: Iterable[list], sweep: Sweep) -> list[Point]:
    """Return what `sweep` asks to measure next, in the order to measure it; [] if it is complete.

    First all that is measured in any case; then, draw by draw, one more of each α whose mean is
    not yet precise enough: ask again when they are measured.

    Args:
        rows: measurements under the sweep's settings, in the order of `records.COLUMNS`.
        sweep: what is asked for.
    """
    counts = {(row[0], row[1], row[2]): row[3:5] for row in rows}
    first = [point for point in sweep.points if point not in counts]
    if first or not sweep.precision:
        return first
    more = []
    for alpha in sorted(a for a in sweep.alphas if a > 0):
        draws = whole_draws(counts, alpha, sweep.signs)
        if len(draws) < sweep.most_draws and not is_precise(draws, sweep):
            more += [(alpha, len(draws), sign) for sign in sweep.signs]
    return sorted((p for p in more if p not in counts), key=lambda p: (p[1], p[0], -p[2]))


def whole_draws(counts: dict[Point, list[int]], alpha: float, signs: tuple[int, ...]) -> np.ndarray:
    """Return (correct, total) of draws 0, 1, … of α, summed over `signs`, up to the first gap.

    With both signs a pair ±ε is one independent unit.

    Returns:
        Integers (n, 2).
    """
    draws = []
    while all((alpha, len(draws), sign) in counts for sign in signs):
        found = [counts[alpha, len(draws), sign] for sign in signs]
        draws.append([sum(part) for part in zip(*found, strict=True)])
    return np.array(draws, dtype=np.int64).reshape(-1, 2)


def is_precise(draws: np.ndarray, sweep: Sweep) -> bool:
    """Return whether the rule has stopped at one of the draws (n, 2) of an α, or before."""
    return bool((half_widths(draws)[sweep.first_draws - 1 :] <= sweep.precision).any())


def half_widths(draws: np.ndarray) -> np.ndarray:
    """Return the half-width of the t-interval of mean accuracy after 1, 2, … n units.

    The standard deviation is taken as at least one image, 1/total, as everywhere (see `intervals`).

    Args:
        draws: (correct, total) of each unit, integers (n, 2).

    Returns:
        Fractions (n,); NaN after one unit.
    """
    from analysis.intervals import t_factor  # SciPy: where a precision is asked for, no sooner

    n = np.arange(1, len(draws) + 1)
    accuracy = draws[:, 0] / draws[:, 1]
    away = accuracy - accuracy[:1]  # or the squares would cancel; no later draw may enter
    squares = np.cumsum(away**2) - np.cumsum(away) ** 2 / n
    sd = np.sqrt(np.maximum(squares, 0) / np.maximum(n - 1, 1))
    return t_factor(n) * np.maximum(sd, 1 / draws[:, 1]) / np.sqrt(n)
