"""Which method of training is first, and how sure that is: resampled seeds. No torch.

Means over seeds put methods in an order that other seeds might change. Seeds are drawn anew with
replacement, whole: all methods of a seed share initial weights, batches and noise. Of n seeds,
n − 1 are drawn each time, so that resampled means vary as means of n do (Rao and Wu, 1988, JASA 83;
n of n would vary too little, by a third with three seeds). Of few seeds all resamples are taken.
What comes out says how far the order is that of these seeds. It is no verdict: verdicts are read
from intervals, in `endpoints`.

A strength α₅₀ that a sweep does not reach counts as its bound, and methods that are equal share a
place: "first in half of the resamples" may then mean that two were never seen to fall.
"""

from itertools import combinations_with_replacement
from math import comb

import numpy as np
import pandas as pd
from scipy import stats

from analysis.endpoints import halves
from analysis.intervals import RUN, baseline_of, draw_means
from analysis.verdicts import step_down

REPEATS = 10_000
"""Resamples, at most: the standard error of a share is then half a percent; of up to 8 seeds there
are fewer, and shares have no error."""
SAME = 1e-9
"""Values that differ by less are equal: sums of the same numbers may be rounded differently."""
COLUMNS = [
    *("architecture", "regime", "seeds", "censored", "cost", "tolerance", "on_front"),
    *("first", "front", "rank_low", "rank_high", "behind"),
]


def ranking(rows: pd.DataFrame, baseline: str | None = None, most: int = REPEATS) -> pd.DataFrame:
    """Return the place of every method by tolerance, and whether it is on the Pareto front.

    Ranked are the methods that have the most seeds, over the seeds that all of them have; at least
    two seeds and two methods.

    Args:
        rows: the measurements, as in `intervals`.
        baseline: the regime that cost and tolerance are relative to; it is ranked with the others.
        most: resamples, at most.

    Returns:
        A row per architecture and regime: seeds, censored (of them, those whose α₅₀ is a bound),
        cost (points, mean), tolerance (ratio, geometric mean), on_front (no other method costs no
        more and stands no less, and is better in one of the two); and over the resamples: first
        (share in which its tolerance is the largest), front (share in which it is on the front),
        rank_low and rank_high (what 95% of its ranks lie between, 1 = first). And behind, whether
        it is told from the first: see the function of that name.
    """
    baseline = baseline or baseline_of(rows)
    values = per_seed(rows)
    out = []
    for architecture, mine in values.groupby("architecture", observed=True):
        tables = {
            name: mine.pivot(index="seed", columns="regime", values=name)
            for name in ("start", "half", "bound")
        }
        known = (tables["start"].notna() & tables["half"].notna()).loc[:, list(tables["half"])]
        if baseline not in known or not known[baseline].any():
            continue
        seen = known.sum()
        chosen = [name for name in known if seen[name] == seen.max() or name == baseline]
        seeds = known.index[known[chosen].all(axis=1)]
        if len(seeds) < 2 or len(chosen) < 2:
            continue
        start, half, bound = (table.loc[seeds, chosen] for table in tables.values())
        cost = -100 * start.sub(start[baseline], axis=0).to_numpy()  # (seeds, methods)
        tolerance = half.sub(half[baseline], axis=0).to_numpy()
        found = {
            "seeds": len(seeds),
            "censored": bound.sum().to_numpy().astype(int),
            "cost": cost.mean(axis=0),
            "tolerance": np.exp(tolerance.mean(axis=0)),
            "on_front": on_front(cost.mean(axis=0), tolerance.mean(axis=0)),
            **resampled(cost, tolerance, most),
            "behind": behind(half.to_numpy(), bound.to_numpy(dtype=bool)),
        }
        out.append(pd.DataFrame({"architecture": architecture, "regime": chosen, **found}))
    table = pd.concat(out) if out else pd.DataFrame(columns=COLUMNS)
    kinds = {name: rows[name].dtype for name in RUN[:2]} | {"on_front": bool, "behind": bool}
    return table[COLUMNS].astype(kinds).reset_index(drop=True)


def per_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run: `RUN`, start (accuracy at α = 0), half (log α₅₀, or log of the bound
    that is known of it; NaN where none is) and bound (whether it is one)."""
    found = halves(rows)
    with np.errstate(divide="ignore"):
        low, high = np.log(found.low), np.log(found.high)
    found["half"] = low.where(np.isfinite(low), high)
    found["half"] = found.half.where(np.isfinite(found.half))
    found["bound"] = found.low != found.high
    means = draw_means(rows)
    start = means.loc[means.alpha == 0, [*RUN, "accuracy"]].rename(columns={"accuracy": "start"})
    return found[[*RUN, "half", "bound"]].merge(start, on=RUN, how="left")


def on_front(cost: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Return which methods no other one dominates.

    Args:
        cost, tolerance: (…, methods); less cost and more tolerance are better.

    Returns:
        bool, (…, methods).
    """
    cheaper = cost[..., None, :] - cost[..., :, None]  # of j over i, (…, i, j)
    stands = tolerance[..., None, :] - tolerance[..., :, None]
    no_worse = (cheaper <= SAME) & (stands >= -SAME)
    better = (cheaper < -SAME) | (stands > SAME)
    return ~(no_worse & better).any(axis=-1)


def resamples(n: int, most: int = REPEATS) -> tuple[np.ndarray, np.ndarray]:
    """Return the resamples of n − 1 of n ≥ 2 seeds: all, where they are at most `most`, else that
    many at random.

    Returns:
        The weight of each seed in each, (resamples, n), and their probabilities, (resamples,).
    """
    even = np.full(n, 1 / n)
    if comb(2 * n - 2, n - 1) > most:
        counts = np.random.default_rng(0).multinomial(n - 1, even, most)
        return counts / (n - 1), np.full(most, 1 / most)
    drawn = combinations_with_replacement(range(n), n - 1)
    counts = np.array([np.bincount(which, minlength=n) for which in drawn])
    return counts / (n - 1), stats.multinomial.pmf(counts, n - 1, even)


def central(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return what 95% of values lie between.

    Args:
        values: (resamples, …).
        share: their probabilities, (resamples,).

    Returns:
        (2, …): below the first, and above the second, are at most 2.5%.
    """
    ends = (0.025, 0.975)
    return np.quantile(values, ends, axis=0, method="inverted_cdf", weights=share)


def resampled(cost: np.ndarray, tolerance: np.ndarray, most: int) -> dict[str, np.ndarray]:
    """Return first, front, rank_low and rank_high of each method: see `ranking`.

    Args:
        cost, tolerance: of each seed, (seeds, methods).
        most: resamples, at most.
    """
    weights, share = resamples(len(cost), most)
    costs, tolerances = weights @ cost, weights @ tolerance  # (resamples, seeds) -> (…, methods)
    leads = tolerances >= tolerances.max(axis=1, keepdims=True) - SAME
    above = tolerances[:, None, :] > tolerances[:, :, None] + SAME  # (resamples, i, j)
    low, high = central(1 + above.sum(axis=2), share)
    return {
        "first": (share @ (leads / leads.sum(axis=1, keepdims=True))).round(12),
        "front": (share @ on_front(costs, tolerances)).round(12),
        "rank_low": low,
        "rank_high": high,
    }


def behind(half: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return which methods are told from the one that stands the most, in the mean.

    By two-sided t-tests over pairs of a seed, in Holm's steps with an error of 5% (see `verdicts`).
    The first is read off the same numbers, so that among equals some method is told from it more
    often; but the one that truly stands the most is among those that are not told in at least 95%
    of experiments, as in comparisons with the best (Hsu, 1984, Annals of Statistics 12). Never told
    are the first itself and what is not seen to fall as far.

    Args:
        half, bound: log α₅₀ of each seed, and whether it is a bound, (seeds, methods).

    Returns:
        bool, (methods,).
    """
    first = half.mean(axis=0).argmax()
    gap = np.where(bound | bound[:, [first]], np.nan, half[:, [first]] - half)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = gap.mean(axis=0) / (gap.std(axis=0, ddof=1) / len(gap) ** 0.5)
    p = pd.Series(2 * stats.t.sf(np.abs(t), len(gap) - 1))
    one = pd.Series(1.0, p.index)
    return step_down(p, family=one, share=one).resolved.to_numpy()
