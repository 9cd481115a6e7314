"""How often intervals hold and words are false, on data with a known truth: `simulate.json`.

    python benchmarks/simulate.py            # all of it, about ten minutes on one core
    python benchmarks/simulate.py --repeats 100

Each kind of data has a truth and makes experiments of 3, 6 or 10 seeds with 5 draws, which are
judged by the functions that the report uses. Kinds:

- normal: 11 strengths and 0, independent; spread over seeds 0.3 points, over draws 0.6; no effect,
  or one point (where *equivalent* is just false).
- of an architecture's name: its six seeds and five draws in `results/reference`, drawn from with
  replacement; the truth is their mean. Draws of ResNet-18 are skewed where it breaks.
- "no effect": the same, with the true effect taken off.
- collapsing: the CNN's, and one seed in ten of the noisy regime is at chance for every strength.
- two peaks: draws of the three strengths of a steep part fall to 0.3 with probability 0.2 (clean)
  or 0.25 (noisy), at the same draws but for those, and noisy ones are a point better where they
  do not: the mean is 2.3 points worse.

`STATISTICS.md` has the table in words.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from alternatives import METHODS  # noqa: E402

from analysis import endpoints, intervals, verdicts  # noqa: E402
from reporting.results import read  # noqa: E402

TOTAL = 10_000
SEEDS, DRAWS = (3, 6, 10), 5
Data = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Strengths (k,); accuracies (experiments, regimes, seeds, strengths, draws); true effects (k,)."""


def make_rows(alphas: np.ndarray, accuracy: np.ndarray) -> pd.DataFrame:
    """Return the rows of many experiments as architectures of one table."""
    index = np.indices(accuracy.shape).reshape(accuracy.ndim, -1)
    clipped = np.clip(accuracy.reshape(-1), 0, 1)
    rows = pd.DataFrame(
        {
            "architecture": index[0],
            "regime": np.array(["clean", "noisy"])[index[1]],
            "seed": index[2],
            "alpha": alphas[index[3]],
            "draw": index[4],
            "sign": 1,
            "correct": np.rint(clipped * TOTAL).astype(int),
            "total": TOTAL,
            "loss": 0.0,
        }
    )
    return rows[(rows.alpha > 0) | (rows.draw == 0)]


def population(rows: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return strengths (k,) and the reference's accuracies (regimes, seeds, k, draws)."""
    mine = rows[(rows.architecture == name) & (rows.sign > 0)]
    mine = mine.assign(accuracy=mine.correct / mine.total, regime=mine.regime.astype(str))
    wide = mine.pivot(index=["regime", "seed", "alpha"], columns="draw", values="accuracy")
    wide = wide.ffill(axis=1)  # α = 0 has one measurement
    shape = [len(wide.index.unique(level)) for level in wide.index.names]
    return wide.index.unique("alpha").to_numpy(), wide.to_numpy().reshape(*shape, -1)


def resampled(rng, repeats: int, seeds: int, alphas: np.ndarray, pool: np.ndarray) -> Data:
    """Return experiments of seeds and draws of a population (regimes, seeds, k, draws)."""
    seed = rng.integers(pool.shape[1], size=(repeats, seeds, 1))
    draw = rng.integers(pool.shape[3], size=(repeats, seeds, DRAWS))
    drawn = np.moveaxis(pool, 2, 3)[:, seed, draw]  # (2, repeats, seeds, draws, k)
    truth = (pool[1] - pool[0]).mean(axis=(0, 2))
    return alphas, drawn.transpose(1, 0, 2, 4, 3), truth


def without_effect(data: Data) -> Data:
    """Return the same experiments with the true effect taken off the second regime."""
    alphas, accuracy, truth = data
    accuracy = accuracy.copy()
    accuracy[:, 1] -= truth[:, None]
    return alphas, accuracy, 0 * truth


def collapsing(rng, data: Data, pool: np.ndarray, rate=0.1, chance=0.1) -> Data:
    """Return the same with seeds of the second regime at chance, at all strengths."""
    alphas, accuracy, truth = data
    fallen = rng.uniform(size=(len(accuracy), accuracy.shape[2])) < rate
    accuracy = accuracy.copy()
    accuracy[:, 1][fallen] = chance
    clean = pool[0].mean(axis=(0, 2))
    return alphas, accuracy, (1 - rate) * truth + rate * (chance - clean)


def normal(rng, repeats: int, seeds: int, effect: float) -> Data:
    """Return experiments of normal seeds and draws, with the same effect at every strength."""
    alphas = np.array([0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.4, 2])
    own = 0.003 * rng.normal(size=(repeats, 2, seeds, len(alphas), 1)) / np.sqrt(2)
    draw = 0.006 * rng.normal(size=(repeats, 2, seeds, len(alphas), DRAWS)) / np.sqrt(2)
    shift = np.array([0, effect]).reshape(1, 2, 1, 1, 1)
    return alphas, 0.8 + shift + own + draw, np.full(len(alphas), effect)


def two_peaks(rng, repeats: int, seeds: int) -> Data:
    """Return experiments whose draws fall or do not."""
    alphas = np.array([0, 1.0, 1.4, 2.0])
    shape = (repeats, 2, seeds, len(alphas), DRAWS)
    start = 0.9 + 0.003 * rng.normal(size=(*shape[:4], 1)) + 0.003 * rng.normal(size=shape)
    start += np.array([0, 0.01]).reshape(1, 2, 1, 1, 1)
    low = np.array([0.2, 0.25]).reshape(1, 2, 1, 1, 1)
    falls = rng.uniform(size=(repeats, 1, seeds, len(alphas), DRAWS)) < low
    falls[:, :, :, 0] = False
    accuracy = np.where(falls, 0.3 + 0.01 * rng.normal(size=shape), start)
    return alphas, accuracy, np.array([0.01] + [0.75 * 0.91 - 0.8 * 0.9 + 0.05 * 0.3] * 3)


def judge(data: Data) -> dict[str, float]:
    """Return the rates of one kind of data.

    pointwise: coverage at its worst strength of t-intervals by themselves; together: of all that
    are printed above 0; wrong: experiments
    with a *better* or *worse* that is not so; same: with an *equivalent* that is not; any: with
    either; resolved: part of the strengths above 0 that are; bonferroni: the same without steps.
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


def kinds(rows: pd.DataFrame) -> dict[str, Callable[..., Data]]:
    """Return what makes each kind of data from a generator, repeats and seeds."""
    pools = {name: population(rows, name) for name in rows.architecture.cat.categories}

    def of(name: str) -> Callable[..., Data]:
        return lambda rng, repeats, seeds: resampled(rng, repeats, seeds, *pools[name])

    return {
        "normal, no effect": lambda *a: normal(*a, 0.0),
        "normal, one point": lambda *a: normal(*a, 0.01),
        **{name: of(name) for name in pools},
        "resnet18, no effect": lambda *a: without_effect(of("resnet18")(*a)),
        "collapsing": lambda rng, *a: collapsing(rng, of("cnn")(rng, *a), pools["cnn"][1]),
        "two peaks": two_peaks,
    }


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


def main() -> None:
    """Simulate, and write the file."""
    parser = argparse.ArgumentParser(description="Simulate how often intervals and words hold.")
    parser.add_argument("--repeats", type=int, default=2000, help="experiments of each kind")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "simulate.json")
    options = parser.parse_args()
    rows = read(ROOT / "results" / "reference").rows
    body = {
        "repeats": options.repeats,
        "draws": DRAWS,
        "kinds": simulate(rows, options.repeats),
        "three_of_six": three_of_six(rows),
        "methods": weigh(rows, options.repeats),
    }
    rounded = json.loads(json.dumps(body), parse_float=lambda text: round(float(text), 4))
    options.out.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
