"""Is what was measured of the kind that intervals over seeds are good for? Flags. No torch.

t-intervals of a few seeds cover what they say for values that are about normal. What is seen of
the contrary is flagged, and verdicts that rest on it are marked. A flag is no test: few draws and
seeds need not show what they are a sample of. Where n seeds show no collapse, the probability of
one may still be 1 − 0.05^(1/n): 63% with three seeds, 39% with six.

Simulated with 3, 6 and 10 seeds of 5 draws (`benchmarks/simulate.json`), experiments of which all
intervals by strength hold, and those with a false word: normal data 98 to 100%, at most 4%; skewed
draws (ResNet-18's) 84 to 100%, at most 11%; one seed in ten collapsing 25 to 68%, up to 75%, which
is the probability that no collapse was seen; draws with two peaks 97 to 100%, below 1%. Nothing
more is promised.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.curves import chance_of
from analysis.endpoints import COST, halves
from analysis.intervals import GROUP, RUN, baseline_of
from analysis.verdicts import LEVEL, MARGIN

SKEWED, PEAKS = "skewed draws", "draws with two peaks"
APART, COLLAPSED = "a seed far from the others", "a collapsed seed"
SKEWNESS = 1.5
"""Skewness of draws around their seed's mean beyond which they are flagged: 3 in 1,000 samples of
15 normal values are beyond, and none in 1,000 of 30."""
FEWEST = 15
"""Draws, of all seeds, below which no skewness is told from chance."""
PART = 0.9
"""Part of the draws' variance that lies between two groups beyond which they have two peaks: the
best cut leaves 0.64 of normal values' there, and 0.75 of uniform ones'."""
GAP = 0.05
"""Least distance of two peaks, as accuracy."""
ERROR = 0.005
"""Probability with which one seed of a normal sample is said to be far from the others."""
FLAGS = [*GROUP, "flag"]


def find_flags(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is not normal: a row per architecture, regime, α and flag, in `FLAGS`.

    A spread of less than a point is not flagged. A seed has collapsed if its accuracy at α = 0 is
    below halfway from the best of the architecture to chance; that stands at every α of its regime.
    """
    plus = rows[rows.sign > 0].sort_values([*RUN, "alpha", "draw"])
    plus = plus.assign(accuracy=plus.correct / plus.total)
    collapsed = find_collapsed(plus)
    out = []
    for key, part in plus.groupby(GROUP, observed=True):
        values = [seed.to_numpy() for _, seed in part.groupby("seed").accuracy]
        means = np.array([seed.mean() for seed in values])
        found = {
            COLLAPSED: key[:2] in collapsed,
            APART: is_apart(means, MARGIN),
            SKEWED: is_skewed(values),
            PEAKS: has_two_peaks(np.concatenate(values)),
        }
        out += [(*key, flag) for flag, is_so in found.items() if is_so]
    return pd.DataFrame(out, columns=FLAGS).astype({name: rows[name].dtype for name in GROUP})


def find_collapsed(plus: pd.DataFrame) -> set[tuple]:
    """Return the architectures and regimes of which a seed has collapsed."""
    start = plus[plus.alpha == 0].groupby(RUN, observed=True).accuracy.mean()
    best = start.groupby(RUN[:1], observed=True).transform("max")  # all of a regime may be down
    fallen = start < (best + chance_of(plus).reindex(start.index)) / 2
    return {run[:2] for run in start.index[fallen]}


def is_apart(values: np.ndarray, least: float) -> bool:
    """Return whether the farthest of the values of seeds, (n,), is an outlier by Grubbs' test
    (1969, Technometrics 11), and at least `least` from the mean; never for n < 4."""
    n = len(values)
    if n < 4:  # the test can hardly reject for three
        return False
    away = np.abs(values - values.mean()).max()
    t = stats.t.isf(ERROR / (2 * n), n - 2)
    limit = (n - 1) / np.sqrt(n) * np.sqrt(t**2 / (n - 2 + t**2))
    return bool(away >= least and away > limit * values.std(ddof=1))


def is_skewed(seeds: list[np.ndarray]) -> bool:
    """Return whether the draws of seeds lie skewed around their seed's mean."""
    away = np.concatenate([draws - draws.mean() for draws in seeds])
    wide = max(np.ptp(draws) for draws in seeds) >= MARGIN
    return bool(wide and len(away) >= FEWEST and abs(stats.skew(away)) > SKEWNESS)


def has_two_peaks(draws: np.ndarray) -> bool:
    """Return whether draws fall into two groups of two or more, far apart beside their spread."""
    n, values = len(draws), np.sort(draws)
    if n < 4 or np.ptp(values) < GAP:
        return False
    left = np.arange(2, n - 1)  # how many lie below the cut
    below = np.cumsum(values)[left - 1] / left
    above = (values.sum() - below * left) / (n - left)
    between = left * (n - left) / n**2 * (above - below) ** 2
    best = between.argmax()
    return bool(between[best] > PART * values.var() and above[best] - below[best] >= GAP)


def flags_of_pairs(
    effects: pd.DataFrame, flags: pd.DataFrame, baseline: str | None = None
) -> pd.Series:
    """Return what is flagged of either run of each effect (architecture, regime, alpha), in words,
    "" where nothing is; indexed like `effects`."""
    baseline, found = baseline or baseline_of(effects), {}
    for architecture, regime, alpha, flag in flags.itertuples(index=False):
        found.setdefault((architecture, regime, alpha), []).append(flag)
    words = []
    for row in effects.itertuples():
        keys = [(row.architecture, regime, row.alpha) for regime in (baseline, row.regime)]
        seen = dict.fromkeys(flag for key in keys for flag in found.get(key, ()))
        words.append("; ".join(seen))
    return pd.Series(words, index=effects.index, dtype=object)


def flags_of_endpoints(
    ends: pd.DataFrame, rows: pd.DataFrame, flags: pd.DataFrame, baseline: str | None = None
) -> pd.Series:
    """Return what is flagged of either run of each of `endpoints`, in words, "" where nothing is;
    indexed like `ends`. Cost rests on α = 0; tolerance on the strengths between which α₅₀ lies in
    any seed of the two."""
    baseline, half, words = baseline or baseline_of(rows), halves(rows), []
    for row in ends.itertuples():
        both = [baseline, row.regime]
        mine = flags[(flags.architecture == row.architecture) & flags.regime.isin(both)]
        low = high = 0.0
        if row.endpoint != COST:
            runs = half[(half.architecture == row.architecture) & half.regime.isin(both)]
            alpha = rows.alpha[rows.architecture == row.architecture]
            low = alpha[alpha <= runs.low.min()].max()
            high = alpha[alpha >= runs.high.max()].min()  # NaN where it is not reached
        at = mine.alpha.between(low, np.inf if np.isnan(high) else high)
        words.append("; ".join(dict.fromkeys(mine.flag[at])))
    return pd.Series(words, index=ends.index, dtype=object)


def most_collapses(seeds: int) -> float:
    """Return the largest probability of collapse that this many seeds without one leave possible,
    with a confidence of 95%."""
    return 1 - (1 - LEVEL) ** (1 / seeds)
