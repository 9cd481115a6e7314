"""Trained under one noise, measured under another: the matrix, and the best strength. No torch.

`rows` are those of `intervals` with one regime for each training: `NAME(family, strength)`, and the
baseline, trained without noise, first in table order. There is one frame for each noise that was
measured.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.intervals import baseline_of, draw_means, paired_effects
from analysis.ranking import central, resamples

Training = tuple[str, float]
"""Family and strength of the noise in training."""
CELL = ["trained", "strength", "noise", "architecture", "alpha"]
BEST = ["trained", "noise", "architecture", "alpha", "seeds", "best", "low", "high", "gain"]


def name(training: Training) -> str:
    """Return the name of a training as a regime."""
    return f"{training[0]} {training[1]:g}"


def matrix(by_noise: Mapping[str, pd.DataFrame], trainings: list[Training]) -> pd.DataFrame:
    """Return what each training gains under each noise and strength against the baseline.

    Returns:
        A row per cell: `CELL` (trained and strength of the training, noise and alpha of the
        measurement), and seeds, effect (accuracy − the baseline's, a fraction, paired by seed),
        low, high, kind and verdict as from `verdicts.judge`: the words of one noise and
        architecture, over all trainings and strengths, share an error of 5%.
    """
    known = {name(training): training for training in trainings}
    parts = []
    for noise, rows in by_noise.items():
        table = paired_effects(rows).assign(noise=noise)
        table["trained"] = [known[str(regime)][0] for regime in table.regime]
        table["strength"] = [known[str(regime)][1] for regime in table.regime]
        parts.append(table)
    whole = pd.concat(parts, ignore_index=True)
    return whole[[*CELL, "seeds", "effect", "low", "high", "kind", "verdict"]]


def best_strengths(by_noise: Mapping[str, pd.DataFrame], trainings: list[Training]) -> pd.DataFrame:
    """Return which training strength of each family is best under each noise and strength.

    Candidates are those that were trained, and 0, the baseline; of equal ones the smallest. Over
    the seeds that all candidates have, at least two; the interval holds 95% of the choices in
    resamples of them, as in `ranking`: it is of the candidates, and no finer than they are.

    Returns:
        The columns `BEST`: low and high of the interval, and gain, the mean accuracy at the best
        strength − that of the baseline, a fraction. The gain is that of the best of several, and
        so more than the same strength would have on new seeds.
    """
    out = []
    for noise, rows in by_noise.items():
        baseline, means = baseline_of(rows), draw_means(rows)
        for (architecture, alpha), part in means.groupby(["architecture", "alpha"], observed=True):
            table = part.pivot(index="seed", columns="regime", values="accuracy")
            for family in dict.fromkeys(family for family, _ in trainings):
                strengths = sorted(s for f, s in trainings if f == family)
                names = [baseline, *(name((family, s)) for s in strengths)]
                if not {*names} <= {*table}:
                    continue
                seeds = table[names].dropna().to_numpy()  # (seeds, candidates)
                if len(seeds) < 2:
                    continue
                tried = np.array([0.0, *strengths])
                weights, share = resamples(len(seeds))
                chosen = tried[(weights @ seeds).round(12).argmax(axis=1)]
                mean = seeds.mean(axis=0)
                best = int(mean.round(12).argmax())
                low, high = map(float, central(chosen, share))
                found = (len(seeds), tried[best], low, high, mean[best] - mean[0])
                out.append((family, noise, architecture, alpha, *found))
    return pd.DataFrame(out, columns=BEST)
