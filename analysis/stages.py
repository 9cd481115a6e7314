"""How many draws it takes: a second stage, found from the first. Functions of rows. No torch.

A rule that stops when an interval happens to be short stops where draws happen to agree: with a few
low draws in a hundred, before it has seen them. Stein's two stages (1945, Ann. Math. Statist. 16)
do not look at what they stop: the first, ten draws of all runs of an architecture, says how far
draws spread, pooled over runs; the number that this takes is found once, is the same for all
regimes and seeds, and all draws count.

- `Sweep.two_stage`: what draws leave of the variance of a run's mean, w²/N, is at most `SHARE` of
  the variance of such means over seeds, or of that which would be small beside a point: intervals
  over seeds are then about an eighth longer than with endless draws, and up to a quarter at
  `MOST_DRAWS`. w² is the variance of draws, pooled over seeds and regimes; the variance over seeds
  is that of the first stage's means, pooled over regimes. Found for frozen statistics of
  BatchNorm; at most `MOST_DRAWS`; none, and nothing written, for a single seed, which has no
  interval over seeds.
- `Sweep.precision` P: N = (t s/P)², with s² the variance of draws, pooled over the seeds of the
  regime in which it is largest, and t the quantile of its degrees of freedom. The interval
  mean ± t s/√N covers what it says for normal draws, whatever N is. At most `Sweep.max_draws`.

Every strength that all runs have has a number of its own; `store.stages` says what others have.
`benchmarks/STATISTICS.md` says what this reaches, and what the rule of before did.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from analysis.needs import kinds, needs
from config import Run, Sweep
from store.plan import Plan
from store.records import Record, rows
from store.stages import MOST_DRAWS, Stage, key_of, targets_of

SHARE = 0.2
"""Part of the variance over seeds that draws may leave."""
SMALL = 0.001
"""Standard deviation over seeds, as accuracy, below which a smaller one asks for no more draws: a
tenth of the margin of *equivalent*."""
Values = Mapping[str, np.ndarray]
"""Accuracies of single draws, (seeds, draws), by regime."""


def find_stages(plan: Plan, record_of: Callable[[Run], Record | None]) -> list[Stage]:
    """Return the second stages that can be found now, and are not in the plan.

    Args:
        plan: all that is asked for in a results folder.
        record_of: returns the record of a run; None where there is none.
    """
    found = []
    for architecture in dict.fromkeys(run.architecture for run in plan.runs):
        runs = [run for run in plan.runs if run.architecture == architecture]
        if not waiting(plan, runs, record_of):
            found += stages_of(plan, [(run, record_of(run)) for run in runs])
    return found


def waiting(
    plan: Plan, runs: Iterable[Run], record_of: Callable[[Run], Record | None]
) -> list[Run]:
    """Return the runs that lack something of what is known to be asked for of them."""
    others = {run: [record_of(other) for other in run.others(plan.all_regimes)] for run in runs}
    return [
        run
        for run in others
        if (record := record_of(run)) is None or needs(record, plan.sweep_of(run), others[run])
    ]


def find_open(plan: Plan) -> list[str]:
    """Return the architectures whose second stage is asked for, and not in the plan."""
    known = {(stage.architecture, stage.precision) for stage in plan.stages}
    asked = {(run.architecture, t) for run in plan.runs for t in targets_of(plan.sweep_of(run))}
    asked = {(name, t) for name, t in asked if t or has_seeds(plan, name)}
    return list(dict.fromkeys(name for name, _ in sorted(asked - known)))


def has_seeds(plan: Plan, architecture: str) -> bool:
    """Return whether some regime of an architecture has two seeds, whose spread can be beside that
    of draws. A single one settles nothing: its plan may get more seeds, and their second stage."""
    runs = [run for run in plan.runs if run.architecture == architecture]
    return len(runs) > len({run.regime for run in runs})


def stages_of(plan: Plan, measured: list[tuple[Run, Record]]) -> list[Stage]:
    """Return the second stages of the runs of one architecture that are not in the plan."""
    known, asked = {stage.key for stage in plan.stages}, {}
    for run, record in measured:
        beside_seeds = has_seeds(plan, run.architecture)
        sweep = plan.sweep_of(run)
        for settings, part, _ in kinds(record, sweep):
            for target in targets_of(part):
                key = key_of(run.architecture, settings, target)
                wanted = target or ("batchnorm" not in settings and beside_seeds)
                if key not in known and wanted:
                    asked.setdefault(key, []).append((run, record, settings, part))
    return [Stage(*key, numbers(members, key[2])) for key, members in asked.items()]


def numbers(
    members: list[tuple[Run, Record, dict, Sweep]], precision: float
) -> tuple[tuple[float, int], ...]:
    """Return the draws in all, by strength, of the runs of one architecture and settings."""
    sweeps = [sweep for *_, sweep in members]
    first, most = min(s.first_draws for s in sweeps), max(s.max_draws for s in sweeps)
    signs = sweeps[0].signs if precision else (1,)
    units = [
        (run.regime, units_of(rows(record, settings), first, signs))
        for run, record, settings, _ in members
    ]
    common = set.intersection(*({*found} for _, found in units))
    out = []
    for strength in sorted(common):
        by_regime: dict[str, list] = {}
        for regime, found in units:
            by_regime.setdefault(regime, []).append(found[strength])
        values = {regime: np.array([v for v, _ in pairs]) for regime, pairs in by_regime.items()}
        total = min(total for pairs in by_regime.values() for _, total in pairs)
        if precision:
            wanted, limit = draws_for_precision(values, precision, 1 / total), most
        else:
            wanted, limit = draws_beside_seeds(values), MOST_DRAWS
        out.append((strength, int(min(max(wanted, first), max(limit, first)))))
    return tuple(out)


def units_of(
    rows: Iterable[list], draws: int, signs: tuple[int, ...]
) -> dict[float, tuple[list[float], int]]:
    """Return the accuracies of the first draws, and of how many images, of every strength > 0 that
    has them; with both signs a pair ±ε is one independent unit."""
    counts = {(row[0], row[1], row[2]): row[3:5] for row in rows}
    out = {}
    for strength in sorted({alpha for alpha, *_ in counts if alpha > 0}):
        keys = [[(strength, draw, sign) for sign in signs] for draw in range(draws)]
        if all(key in counts for unit in keys for key in unit):
            sums = [np.sum([counts[key] for key in unit], axis=0) for unit in keys]
            out[strength] = [float(n[0] / n[1]) for n in sums], int(sums[0][1])
    return out


def draws_beside_seeds(values: Values) -> float:
    """Return how many draws leave `SHARE` of the variance over seeds; 0 with one seed."""
    if all(len(part) < 2 for part in values.values()):
        return 0
    within = float(np.mean(np.concatenate([part.var(axis=1, ddof=1) for part in values.values()])))
    between = [part.mean(axis=1).var(ddof=1) for part in values.values() if len(part) > 1]
    return math.ceil(within / (SHARE * max(float(np.mean(between)), SMALL**2)))


def draws_for_precision(values: Values, precision: float, least: float) -> float:
    """Return how many draws it takes to know every run's mean to ± `precision`.

    The standard deviation is taken as at least one image, `least`, as everywhere.
    """
    from analysis.intervals import t_factor  # SciPy: where a precision is asked for, no sooner

    found = []
    for part in values.values():
        deviation = max(math.sqrt(float(part.var(axis=1, ddof=1).mean())), least)
        freedom = len(part) * (part.shape[1] - 1)
        factor = float(t_factor(freedom + 1))
        found.append(math.ceil((factor * deviation / precision) ** 2))
    return max(found)
