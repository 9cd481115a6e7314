"""Experiments with a known truth, as rows: what tests of statistics share."""

import math

import numpy as np
import pandas as pd

REPEATS = 2000
TOTAL = 10_000
ALPHAS = (0.0, 0.1, 0.3, 1.0, 2.0)


def make_rows(accuracy: np.ndarray, alphas=ALPHAS, total=TOTAL) -> pd.DataFrame:
    """Return the rows of many experiments as architectures of one table.

    Args:
        accuracy: (experiments, regimes, seeds, α, draws).
    """
    shape = accuracy.shape
    index = np.indices(shape).reshape(len(shape), -1)
    return pd.DataFrame(
        {
            "architecture": index[0],
            "regime": np.array(["clean", "noisy"])[index[1]],
            "seed": index[2],
            "alpha": np.array(alphas)[index[3]],
            "draw": index[4],
            "sign": 1,
            "correct": np.rint(accuracy.reshape(-1) * total).astype(int),
            "total": total,
            "loss": (1 - accuracy.reshape(-1)) * total,
        }
    )


def simulate(
    seeds: int, effect=0.0, repeats=REPEATS, spread=0.003, shared=0.5, draws=3, within=0.006
) -> pd.DataFrame:
    """Return experiments of two variance components: seeds (of each α, in part shared by the
    regimes) and draws inside them (in part shared, as common random numbers are)."""
    rng = np.random.default_rng(seeds)

    def component(*shape, sd):
        common = rng.normal(size=(repeats, 1, *shape))
        own = rng.normal(size=(repeats, 2, *shape))
        return sd * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)

    truth = np.array([0.95, 0.94, 0.9, 0.7, 0.4])[:, None]  # (α, 1)
    by_seed = component(seeds, len(ALPHAS), 1, sd=spread)
    by_draw = component(seeds, len(ALPHAS), draws, sd=within)
    regime = np.array([0.0, effect]).reshape(1, 2, 1, 1, 1)
    return make_rows(truth + regime + by_seed + by_draw)


def within_error(observed: float, expected: float, repeats: int = REPEATS) -> bool:
    """Return whether a rate is within three Monte Carlo standard errors of the expected one."""
    return abs(observed - expected) <= 3 * math.sqrt(expected * (1 - expected) / repeats)


def not_above(observed: float, limit: float, repeats: int = REPEATS) -> bool:
    """Return whether a rate exceeds a limit by no more than three standard errors."""
    return observed <= limit + 3 * math.sqrt(limit * (1 - limit) / repeats)
