"""Which measurements of a sweep are still to be made: pure functions of the rows. No torch.

Draws come in two stages where a sweep asks for that (`Sweep.two_stage`, `Sweep.precision`). The
first, and the search for the break, has `Sweep.first_draws` of every strength. How many the second
has is found from the first of all runs of an architecture (`analysis.stages`), and kept in the
plan: it stands in the sweep that a plan gives (`store.stages`). Where it is not yet known, nothing
more is needed. What is asked for next depends on nothing but that and the rows: a sweep that was
killed goes on to the same record as one that was not, and more rows, such as a merge brings, ask
for nothing more.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import noises
from analysis.search import search
from config import REESTIMATED, Sweep
from noises.family import Family
from noises.gaussian import gaussian
from store.files import Damaged
from store.plan import Plan
from store.records import Record, curvature_block, rows, traits
from store.stages import MOST_DRAWS, Stage, draws_at, numbers_of

Point = tuple[float, int, int]  # (alpha, draw, sign)
USUAL_RUNGS = 9
"""Strengths that the search for the break usually adds: for estimates of time alone."""
USUAL_STEEP = 5
"""Strengths that usually have all draws of a second stage, likewise."""


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

    What is asked for may depend on what was measured (`Sweep.find_break`): ask again when the first
    block is done. Pairs ±ε are measured on training images, at every rung that the sweep on test
    images has come to.

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
        found, second = rows(record, settings) if record else [], ()
        if record and part.staged:
            second = numbers_of(sweep, record["identity"]["architecture"], settings)
        points = lacking(found, part, family, chance(record), least, second)
        blocks.append(Block("test", settings, points))
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
    asked = [(n, p, replace(part, antithetic=False)) for n, part in families for p in policies]
    return [  # pairs are measured on training images
        (sweep.settings_of(name, policy), part.anew() if policy else part, noises.find(name))
        for name, policy, part in asked
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


def check_families(plan: Plan) -> None:
    """Raise Damaged where a plan asks for a noise family that is not known."""
    asked = dict.fromkeys(name for part in plan.parts for name in part.sweep.families)
    if unknown := [ascii(name) for name in asked if not noises.exists(name)]:
        raise Damaged(f"the plan asks for noise that is not known here: {', '.join(unknown)}")


def is_complete(record: Record | None, sweep: Sweep, others: Iterable[Record | None] = ()) -> bool:
    """Return whether a record (or None) holds all that a sweep asks for."""
    return record is not None and not needs(record, sweep, others)


def expected_points(sweep: Sweep) -> int:
    """Return how many measurements the first stage of a sweep of one family and policy is likely to
    take."""
    return len(sweep.points) + (USUAL_RUNGS * sweep.first_draws if sweep.find_break else 0)


def expected_more(sweep: Sweep) -> int:
    """Return how many the second stage of the Gaussian family, with frozen BatchNorm statistics, is
    likely to take at most."""
    steep = USUAL_STEEP if sweep.find_break else sum(alpha > 0 for alpha in sweep.alphas)
    most = max(MOST_DRAWS * sweep.two_stage, sweep.max_draws * (sweep.precision > 0))
    return steep * len(sweep.signs) * max(0, most - sweep.first_draws)


def lacking(
    rows: Iterable[list],
    sweep: Sweep,
    family: Family = gaussian,
    chance: float = 0.0,
    least: float = 0.0,
    second: Iterable[Stage] = (),
) -> list[Point]:
    """Return what `sweep` asks to measure next, in the order to measure it; [] if it is complete.

    First draw 0 of the search for the break; then the first stage of every strength that it names;
    then, draw by draw, the second.

    Args:
        rows: measurements under the sweep's settings, in the order of `records.COLUMNS`.
        sweep: what is asked for, of one family.
        family: whose ladder is climbed.
        chance, least: see `search.search`.
        second: what is known of the second stage.
    """
    counts = {(row[0], row[1], row[2]): row[3:5] for row in rows}
    found = search({p: c[0] / c[1] for p, c in counts.items()}, sweep, family, chance, least)
    if found.probe is not None:
        first = [(0.0, 0, 1), *((rung, 0, 1) for rung in found.rungs)]
        return [p for p in first if p not in counts] or [(found.probe, 0, 1)]
    sweep = replace(sweep, alphas=(0.0, *found.rungs, *found.between), find_break=False)
    first = [point for point in sweep.points if point not in counts]
    if first or not second:
        return first
    more = [
        (alpha, draw, sign)
        for alpha in sweep.alphas[1:]
        for draw in range(sweep.first_draws, draws_at(second, alpha, sweep.first_draws))
        for sign in sweep.signs
    ]
    return sorted((p for p in more if p not in counts), key=lambda p: (p[1], p[0], -p[2]))
