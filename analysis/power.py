"""What it would take to resolve what is unresolved, in seeds, draws and core-hours. No torch.

The variance over seeds of a mean over draws has two parts: that between seeds, which only more
seeds make less of, and that of draws / their number. What is planned for is an upper bound of the
spread: planned with its estimate, an experiment of 80% power has 68 to 72% (six seeds).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from analysis.endpoints import RATIO
from analysis.verdicts import MARGIN, UNRESOLVED, t_factor

POWER = 0.8
"""Probability with which an experiment should resolve an effect of `TARGETS`."""
SURE = 0.8
"""Confidence of the upper bound of a spread (Browne, 1995, Statistics in Medicine 14)."""
MOST = 200
"""Numbers of seeds or draws above this are given as "more than"."""
HOUR = 3600.0
TARGETS = {"points": 100 * MARGIN, "ratio": float(np.log(RATIO))}
"""The effect to resolve, by unit, on the scale of the spread: a point; the log of 1.05."""
LARGE = 37.0
"""Shifts above this are beyond what SciPy's non-central t computes."""
MORE = ["upper", "half", "needed_seeds", "best_seeds", "best_draws", "best_hours"]
MORE += ["hour_seeds", "half_seeds", "hour_draws", "half_draws"]
"""Columns that `what_it_takes` adds."""


def power(n, sd, comparisons, effect: float) -> np.ndarray:
    """Return the probability that n seeds resolve a true effect in its direction.

    It is of the two-sided t-test at the level of its first step, 1/comparisons of the error. All
    arguments broadcast. A spread of zero resolves everything.
    """
    n, sd, comparisons = np.broadcast_arrays(*(np.asarray(x, float) for x in (n, sd, comparisons)))
    limit, shift = t_factor(n, comparisons), effect / np.maximum(sd, 1e-100) * np.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):  # SciPy before 1.14, of what is NaN
        near = stats.nct.sf(limit, n - 1, np.minimum(shift, LARGE))
    far = stats.chi2.cdf((n - 1) * (shift / limit) ** 2, n - 1)  # only the estimated sd varies
    found = np.where(shift > LARGE, far, near)
    return np.where(np.isnan(sd), np.nan, found)


def upper_sd(sd, n, sure: float = SURE) -> np.ndarray:
    """Return the upper bound of a standard deviation estimated from n normal values (χ²); NaN for
    n < 2."""
    sd, n = np.asarray(sd, float), np.asarray(n, float)
    df = np.maximum(n - 1, 1)
    return np.where(n > 1, sd * np.sqrt(df / stats.chi2.ppf(1 - sure, df)), np.nan)


def seeds_needed(sd, comparisons, effect: float) -> np.ndarray:
    """Return how many seeds resolve a true effect of a stated size with `POWER`.

    This is not the power of the observed effect, which says nothing that its interval does not.

    Args:
        sd: true standard deviation over seeds, (m,).
        comparisons: how many share the error, (m,).
        effect: the true effect, in the unit of `sd`.

    Returns:
        Seeds, (m,): from 2 to `MOST`, inf above, NaN where `sd` is.
    """
    sd, comparisons = np.broadcast_arrays(np.asarray(sd, float), np.asarray(comparisons, float))
    n = np.arange(2, MOST + 1)[:, None]
    reached = power(n, sd, comparisons, effect) >= POWER  # (n, m)
    needed = np.where(reached.any(axis=0), 2 + reached.argmax(axis=0), np.inf)
    return np.where(np.isnan(sd), np.nan, needed)


def largest_sd(n: np.ndarray, comparisons: float, effect: float) -> np.ndarray:
    """Return the largest spread over seeds with which each of the n, (k,), has `POWER`."""
    low, high = np.full(len(n), effect * 1e-6), np.full(len(n), effect * 1e3)
    for _ in range(40):  # bisection: power falls as the spread grows
        middle = np.sqrt(low * high)
        enough = power(n, middle, comparisons, effect) >= POWER
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return low


def open_comparisons(effects: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Return what two seeds or more leave unresolved, endpoints first, then strengths above 0.

    Args:
        effects: from `intervals.paired_effects`.
        ends: from `endpoints.endpoints`.

    Returns:
        architecture, regime, what ("cost", "tolerance", "α = 0.5"), unit, seeds, draws,
        comparisons, and sd and within in the unit (points; the log of a ratio).
    """
    at = effects[effects.alpha > 0]
    points = {name: 100 * at[name] for name in ("sd", "within")}
    at = at.assign(what=[f"α = {a:g}" for a in at.alpha], unit="points", **points)
    ends = ends.assign(what=ends.endpoint)
    both = pd.concat([frame[frame.verdict == UNRESOLVED] for frame in (ends, at)])
    kept = ["architecture", "regime", "what", "unit", "seeds", "draws", "comparisons"]
    both = both[[*kept, "sd", "within"]].reset_index(drop=True)
    return both[(both.seeds > 1) & both.sd.notna()].fillna({"within": 0.0})


def what_it_takes(
    open_: pd.DataFrame, seconds: Mapping[tuple, tuple[float, float]] | None = None
) -> pd.DataFrame:
    """Return what would resolve each of `open_comparisons`, and what the next core-hour buys.

    Args:
        open_: the comparisons.
        seconds: by (architecture, regime), core-seconds of one more paired seed, and of one more
            draw at every strength of one paired seed; NaN where not known.

    Returns:
        The columns of `open_`, and upper (bound of sd), half (half-width now), needed_seeds (with
        the draws there are), best_seeds, best_draws and best_hours (`cheapest`), hour_seeds and
        hour_draws (how many more of each a core-hour makes) and half_seeds and half_draws (the
        half-widths then, with the spread as estimated).
    """
    times = seconds or {}
    unknown = (float("nan"),) * 2
    found = []
    for row in open_.itertuples():
        price = times.get((row.architecture, row.regime), unknown)
        found.append(needed(row) | cheapest(row, *price) | bought(row, *price))
    more = pd.DataFrame(found, columns=MORE, index=open_.index, dtype=float)
    return pd.concat([open_, more], axis=1)


def needed(row) -> dict[str, float]:
    """Return the seeds that a comparison takes with the draws it has."""
    upper = float(upper_sd(row.sd, row.seeds))
    seeds = float(seeds_needed([upper], [row.comparisons], TARGETS[row.unit])[0])
    half = half_width_of(row, row.seeds, row.draws)
    return {"upper": upper, "half": half, "needed_seeds": seeds}


def cheapest(row, per_seed: float, per_draw: float) -> dict[str, float]:
    """Return the seeds, with how many draws each, that a comparison takes in the least time; NaN
    where the times are not known or `MOST` is not enough."""
    n = np.arange(row.seeds, MOST + 1)
    between = max(float(upper_sd(row.sd, row.seeds)) ** 2 - row.within**2, 0.0)
    room = largest_sd(n, row.comparisons, TARGETS[row.unit]) ** 2 - between
    with np.errstate(divide="ignore"):
        draws = np.where(room > 0, np.ceil(row.draws * row.within**2 / room), np.inf)
    draws = np.where(room > 0, np.maximum(draws, row.draws), np.inf)
    seconds = (n - row.seeds) * per_seed + n * (draws - row.draws) * per_draw
    possible = np.flatnonzero((draws <= MOST) & np.isfinite(seconds))
    if not len(possible):
        return {}
    best = possible[seconds[possible].argmin()]
    return {"best_seeds": n[best], "best_draws": draws[best], "best_hours": seconds[best] / HOUR}


def bought(row, per_seed: float, per_draw: float) -> dict[str, float]:
    """Return what a core-hour buys for a comparison: seeds or draws, and the half-widths then."""
    seeds, draws = np.floor(HOUR / per_seed), np.floor(HOUR / (per_draw * row.seeds))
    return {
        "hour_seeds": seeds,
        "half_seeds": half_width_of(row, row.seeds + seeds, row.draws),
        "hour_draws": draws,
        "half_draws": half_width_of(row, row.seeds, row.draws + draws),
    }


def half_width_of(row, seeds: float, draws: float) -> float:
    """Return the half-width that a comparison has with other numbers of seeds and draws, its spread
    being what is estimated now."""
    variance = max(row.sd**2 - row.within**2, 0.0) + row.within**2 * row.draws / draws
    return float(t_factor(seeds, row.comparisons) * np.sqrt(variance / seeds))
