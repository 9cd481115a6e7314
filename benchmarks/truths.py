"""Data with a known truth, made as experiments of seeds and draws, for `simulate.py`.

- normal: 11 strengths and 0, independent; spread over seeds 0.3 points, over draws 0.6; no effect,
  or one point (where *equivalent* is just false).
- of an architecture's name: its six seeds and five draws in `population.csv`, drawn from with
  replacement; the truth is their mean. Draws of ResNet-18 are skewed where it breaks. They are of
  the reference of version 0.9.0, four epochs each, and stay as they are when another one is made.
- "no effect": the same, with the true effect taken off.
- collapsing: the CNN's, and one seed in ten of the noisy regime is at chance for every strength.
- two peaks: draws of the three strengths of a steep part fall to 0.3 with probability 0.2 (clean)
  or 0.25 (noisy), at the same draws but for those, and noisy ones are a point better where they
  do not: the mean is 2.3 points worse.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

POPULATION = Path(__file__).with_name("population.csv")
TOTAL = 10_000
DRAWS = 5
Data = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Strengths (k,); accuracies (experiments, regimes, seeds, strengths, draws); true effects (k,)."""


def keep(body: dict, out: Path) -> None:
    """Write what was found as JSON, numbers with four decimals."""
    rounded = json.loads(json.dumps(body), parse_float=lambda text: round(float(text), 4))
    out.write_text(json.dumps(rounded, indent=1) + "\n")


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


def measured() -> pd.DataFrame:
    """Return what was once measured, as the rows of a report."""
    rows = pd.read_csv(POPULATION)
    named = {c: pd.Categorical(rows[c], rows[c].unique()) for c in ("architecture", "regime")}
    return rows.assign(**named, sign=1, total=TOTAL, loss=0.0, size=rows.alpha, chance=0.1)


def population(rows: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return strengths (k,) and the reference's accuracies (regimes, seeds, k, draws)."""
    mine = rows[(rows.architecture == name) & (rows.sign > 0)]
    mine = mine.assign(accuracy=mine.correct / mine.total, regime=mine.regime.astype(str))
    wide = mine.pivot(index=["regime", "seed", "alpha"], columns="draw", values="accuracy")
    wide = wide.ffill(axis=1)  # α = 0 has one measurement
    shape = [len(wide.index.unique(level)) for level in wide.index.names]
    return wide.index.unique("alpha").to_numpy(), wide.to_numpy().reshape(*shape, -1)


def resampled(
    rng, repeats: int, seeds: int, alphas: np.ndarray, pool: np.ndarray, draws: int = DRAWS
) -> Data:
    """Return experiments of seeds and draws of a population (regimes, seeds, k, draws)."""
    seed = rng.integers(pool.shape[1], size=(repeats, seeds, 1))
    draw = rng.integers(pool.shape[3], size=(repeats, seeds, draws))
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
