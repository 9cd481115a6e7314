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

import noises
from analysis.search import search
from config import REESTIMATED, Sweep
from noises.family import Family
from noises.gaussian import gaussian
from store.files import Damaged
from store.records import Record, curvature_block, rows, traits

Point = tuple[float, int, int]  # (alpha, draw, sign)
USUAL_RUNGS = 9
"""Strengths that the search for the break usually adds: for estimates of time alone."""


class Block(NamedTuple):
    """Measurements that a record lacks, all of one kind."""

    images: str
    """Which images: "test" or "training"; "traces" for the Hessian's, on the training images."""
    settings: dict
    """Those under which they are kept: they name the noise family and the BatchNorm policy."""
    points: list[Point]
    """What to measure next, in this order; of traces [(0, 0, 1)], which are one measurement."""


def needs(record: Record | None, sweep: Sweep, others: Iterable[Record | None] = ()) -> list[Block]:
    """Return what a sweep asks for and a record (or None) lacks; [] if it is complete.

    What is asked for may depend on what was measured (`Sweep.precision`, `Sweep.find_break`): ask
    again when the first block is done. Pairs ±ε are measured on training images, at every rung
    that the sweep on test images has come to.

    Args:
        record: what was measured on one run.
        sweep: what is asked for.
        others: the records of the same architecture and seed in other regimes, as far as they are
            there: where the break is looked for, all go as far as the last of them.
    """
    others = [other for other in others if other and sweep.find_break]
    blocks = []
    for settings, part, family in kinds(record, sweep):
        least = max((top_of(other, settings, part, family) for other in others), default=0.0)
        found = rows(record, settings) if record else []
        blocks.append(Block("test", settings, lacking(found, part, family, chance(record), least)))
    blocks += needs_of_pairs(record, sweep, others) if sweep.antithetic else []
    return [block for block in blocks if block.points]


def needs_of_pairs(
    record: Record | None, sweep: Sweep, others: Iterable[Record | None]
) -> list[Block]:
    """Return what is asked for on training images: pairs ±ε, and the Hessian along their draws."""
    name = record["identity"]["architecture"] if record else ""
    settings, part, family = kinds(record, sweep)[0]
    least = max((top_of(other, settings, part, family) for other in others), default=0.0)
    tested = fractions(rows(record, settings)) if record else {}
    rungs = search(tested, part, family, chance(record), least).rungs
    pairs = replace(sweep.in_pairs(name), alphas=(0.0, *rungs))
    found = rows(record, sweep.training_settings) if record else []
    forms = sweep.form_settings(name)
    known = record and curvature_block(record, forms)
    return [
        Block("training", sweep.training_settings, lacking(found, pairs)),
        Block("traces", forms, [] if known else [(0.0, 0, 1)]),
    ]


def kinds(record: Record | None, sweep: Sweep) -> list[tuple[dict, Sweep, Family]]:
    """Return settings, sweep and family of all that is measured on test images: every family under
    every BatchNorm policy that the model has."""
    policies = ["", REESTIMATED] if record and traits(record)["batchnorm"] else [""]
    families = [("gaussian", replace(sweep, noise=())), *family_sweeps(sweep)]
    return [
        (
            sweep.settings_of(name, policy),
            replace(part, antithetic=False),  # pairs are measured on training images
            noises.find(name),
        )
        for name, part in families
        for policy in policies
    ]


def top_of(record: Record, settings: dict, sweep: Sweep, family: Family) -> float:
    """Return the last rung that the search asks for in one run, as far as its record tells."""
    found = search(fractions(rows(record, settings)), sweep, family, chance(record))
    return max(found.rungs, default=0.0)


def chance(record: Record | None) -> float:
    """Return the accuracy of guessing at a run's task."""
    return traits(record)["chance"] if record else 0.0


def fractions(rows: Iterable[list]) -> dict[Point, float]:
    """Return accuracy by (strength, draw, sign)."""
    return {(row[0], row[1], row[2]): row[3] / row[4] for row in rows}


def family_sweeps(sweep: Sweep) -> list[tuple[str, Sweep]]:
    """Return each further noise family that a sweep asks for, with the sweep of it alone."""
    found = [(name, noises.find(name)) for name in sweep.families]
    return [(n, sweep.of_family(n, None if f.random else 1, f.signed)) for n, f in found]


def check_families(sweep: Sweep) -> None:
    """Raise Damaged where a sweep, as a plan holds it, names a noise family that is not known."""
    unknown = [name for name in sweep.families if not noises.exists(name)]
    if unknown:
        raise Damaged(f"the plan asks for noise that is not known here: {', '.join(unknown)}")


def is_complete(record: Record | None, sweep: Sweep, others: Iterable[Record | None] = ()) -> bool:
    """Return whether a record (or None) holds all that a sweep asks for."""
    return record is not None and not needs(record, sweep, others)


def expected_points(sweep: Sweep) -> int:
    """Return how many measurements a sweep of one family and policy is likely to take."""
    return len(sweep.points) + (USUAL_RUNGS * sweep.first_draws if sweep.find_break else 0)


def lacking(
    rows: Iterable[list],
    sweep: Sweep,
    family: Family = gaussian,
    chance: float = 0.0,
    least: float = 0.0,
) -> list[Point]:
    """Return what `sweep` asks to measure next, in the order to measure it; [] if it is complete.

    First draw 0 of the search for the break; then all draws of every strength that it names; then,
    draw by draw, one more of each strength whose mean is not yet precise enough: ask again when
    they are measured.

    Args:
        rows: measurements under the sweep's settings, in the order of `records.COLUMNS`.
        sweep: what is asked for, of one family.
        family: whose ladder is climbed.
        chance, least: see `search.search`.
    """
    counts = {(row[0], row[1], row[2]): row[3:5] for row in rows}
    found = search({p: c[0] / c[1] for p, c in counts.items()}, sweep, family, chance, least)
    if found.probe is not None:
        first = [(0.0, 0, 1), *((rung, 0, 1) for rung in found.rungs)]
        return [p for p in first if p not in counts] or [(found.probe, 0, 1)]
    sweep = replace(sweep, alphas=(0.0, *found.rungs, *found.between), find_break=False)
    first = [point for point in sweep.points if point not in counts]
    if first or not sweep.precision:
        return first
    more = []
    for alpha in sweep.alphas[1:]:
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
