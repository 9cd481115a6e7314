"""How often intervals hold and words are false, on data with a known truth: `simulate.json`.

    python benchmarks/simulate.py            # all of it, about ten minutes on one core
    python benchmarks/simulate.py --repeats 100

Each kind of data of `truths.py` has a truth and makes experiments of 3, 6 or 10 seeds with 5 draws,
which are judged by the functions that the report uses; `alternatives.py` has what was weighed
against them. `STATISTICS.md` has the table in words.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analysis import endpoints, intervals, shape, verdicts  # noqa: E402
from benchmarks.alternatives import METHODS  # noqa: E402
from benchmarks.truths import (  # noqa: E402
    DRAWS,
    TOTAL,
    Data,
    keep,
    kinds,
    make_rows,
    measured,
    population,
)
from machine import words  # noqa: E402

SEEDS = (3, 6, 10)


def judge(data: Data) -> dict[str, float]:
    """Return the rates of one kind of data.

    pointwise: coverage at its worst strength of t-intervals by themselves; together: of all that
    are printed above 0; wrong: experiments with a *better* or *worse* that is not so; same: with
    an *equivalent* that is not; any: with either; resolved: part of the strengths above 0 that are;
    bonferroni: the same without steps.
    """
    alphas, accuracy, truth = data
    table = intervals.paired_effects(make_rows(alphas, accuracy))
    true = table.alpha.map(dict(zip(alphas, truth, strict=True)))
    error = table.sd / np.sqrt(table.seeds)
    alone = (table.effect - true).abs() <= verdicts.t_factor(table.seeds) * error
    above = table.alpha > 0
    inside = (table.low <= true) & (true <= table.high)
    resolved = table.verdict.isin(verdicts.RESOLVED)
    wrong = resolved & ~(np.sign(table.effect) == np.sign(true))
    same = (table.verdict == verdicts.EQUIVALENT) & (true.abs() >= verdicts.MARGIN)
    plain = verdicts.find_word(table.effect - table.half, table.effect + table.half)
    family = table.architecture
    return {
        "pointwise": float(alone[above].groupby(table.alpha).mean().min()),
        "together": float(inside[above].groupby(family).all().mean()),
        "wrong": float(wrong.groupby(family).any().mean()),
        "same": float(same.groupby(family).any().mean()),
        "any": float((wrong | same).groupby(family).any().mean()),
        "resolved": float(resolved[above].mean()),
        "bonferroni": float(np.isin(plain, verdicts.RESOLVED)[above].mean()),
    }


def judge_endpoints(data: Data, tolerance: float) -> dict[str, float]:
    """Return coverage of both endpoints together, and of experiments those with a false word."""
    alphas, accuracy, truth = data
    table = endpoints.endpoints(make_rows(alphas, accuracy))
    true = np.where(table.endpoint == endpoints.COST, -100 * truth[0], tolerance)
    neutral = np.where(table.endpoint == endpoints.COST, 0.0, 1.0)
    inside = (table.low <= true) & (true <= table.high)
    found = np.where(table.endpoint == endpoints.COST, -1, 1) * np.sign(true - neutral)
    said = table.verdict.map({verdicts.BETTER: 1, verdicts.WORSE: -1}).fillna(0)
    wrong = (said != 0) & (said != found)
    resolved = (said != 0).groupby(table.endpoint).mean()
    return {
        "endpoints_together": float(inside.groupby(table.architecture).all().mean()),
        "endpoints_wrong": float(wrong.groupby(table.architecture).any().mean()),
        "cost_resolved": float(resolved[endpoints.COST]),
        "tolerance_resolved": float(resolved[endpoints.TOLERANCE]),
    }


def flagged(data: Data, most: int = 200) -> float:
    """Return the part of experiments, the first `most`, in which something is flagged."""
    accuracy = data[1][:most]
    flags = shape.find_flags(make_rows(data[0], accuracy))
    return flags.architecture.nunique() / len(accuracy)


def compare(data: Data, floored: bool = True) -> dict[str, dict[str, float]]:
    """Return what each of `alternatives.METHODS` resolves of the strengths above 0, and how many
    experiments it gives a verdict that is not so; with the floor of the report, or one image's."""
    alphas, accuracy, truth = data
    shape = (len(accuracy), accuracy.shape[2], len(alphas) - 1)
    table = intervals.paired(make_rows(alphas, accuracy))
    table = table[table.alpha > 0].sort_values(["architecture", "seed", "alpha"])
    means = table.accuracy.to_numpy().reshape(shape)
    within = np.sqrt(table.within.to_numpy().reshape(shape).mean(axis=1))
    least = np.maximum(within if floored else 0.0, 1 / TOTAL)
    found = {}
    for name, method in METHODS.items():
        resolved = method(means, least)
        wrong = resolved & (np.sign(means.mean(axis=1)) != np.sign(truth[1:]))
        found[name] = {"wrong": float(wrong.any(axis=1).mean()), "resolved": float(resolved.mean())}
    return found


def true_tolerance(alphas: np.ndarray, pool: np.ndarray) -> float:
    """Return the ratio that the whole population has: the geometric mean over its seeds."""
    pairs = endpoints.tolerances(make_rows(alphas, pool[None]))
    return float(np.exp(np.log(pairs.low).mean()))


def three_of_six(rows: pd.DataFrame) -> list[dict]:
    """Return, of the 20 choices of three of the reference's six seeds, how many resolve each
    endpoint, and what part of the strengths above 0, by steps and without."""
    found = []
    chosen = list(itertools.combinations(sorted(rows.seed.unique()), 3))
    for name in rows.architecture.cat.categories:
        alphas, pool = population(rows, name)
        accuracy = np.stack([pool[:, list(seeds)] for seeds in chosen])
        table = intervals.paired_effects(make_rows(alphas, accuracy))
        ends = endpoints.endpoints(make_rows(alphas, accuracy), effects=table)
        resolved = ends.verdict.isin(verdicts.RESOLVED).groupby(ends.endpoint).mean()
        above = table[table.alpha > 0]
        plain = verdicts.find_word(above.effect - above.half, above.effect + above.half)
        found.append(
            {
                "architecture": name,
                "cost": float(resolved[endpoints.COST]),
                "tolerance": float(resolved[endpoints.TOLERANCE]),
                "strengths": float(above.verdict.isin(verdicts.RESOLVED).mean()),
                "strengths_bonferroni": float(np.isin(plain, verdicts.RESOLVED).mean()),
            }
        )
    return found


def simulate(rows: pd.DataFrame, repeats: int, chosen: list[str] | None = None) -> list[dict]:
    """Return the rates of every kind of data and number of seeds."""
    found = []
    for kind, make in kinds(rows).items():
        for seeds in SEEDS if chosen is None or kind in chosen else ():
            rng = np.random.default_rng([seeds, len(found)])
            data = make(rng, repeats, seeds)
            line = {"data": kind, "seeds": seeds, **judge(data)}
            if kind in ("resnet18", "vit"):  # both α₅₀ are reached in each seed
                part = data[0], data[1][:500], data[2]  # it takes time
                line |= judge_endpoints(part, true_tolerance(*population(rows, kind)))
            line["flagged"] = flagged(data)
            found.append(line)
            print(line, flush=True)
    return found


def weigh(rows: pd.DataFrame, repeats: int) -> list[dict]:
    """Return `compare` of some kinds of data."""
    makers, found = kinds(rows), []
    for kind in ("normal, no effect", "cnn", "resnet18", "resnet18, no effect", "two peaks"):
        for seeds in SEEDS:
            data = makers[kind](np.random.default_rng([seeds, 1]), repeats, seeds)
            floors = {"floor": compare(data), "no floor": compare(data, floored=False)}
            found.append({"data": kind, "seeds": seeds, **floors})
    return found


def main(repeats: int = 2000, out: Path = ROOT / "benchmarks" / "simulate.json") -> None:
    """Simulate how often intervals and words hold, and write the file.

    Args:
        repeats: experiments of each kind.
        out: the file.
    """
    rows = measured()
    body = {
        "repeats": repeats,
        "draws": DRAWS,
        "kinds": simulate(rows, repeats),
        "three_of_six": three_of_six(rows),
        "methods": weigh(rows, repeats),
    }
    keep(body, out)


if __name__ == "__main__":
    words.run(main)
