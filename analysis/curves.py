"""One number per curve: pure functions of the measured rows. No torch.

`rows` are those of `intervals`, and may have a column chance, the accuracy of guessing in each run
(`CHANCE` without it). Metrics are of a run's draw means, then averaged over seeds.

Runs may be measured at strengths of their own, where a sweep looks for the break. A crossing uses
all strengths of its run; the area and the retention, which are of a range, use those that all runs
of the architecture have in common.

A metric that a sweep does not reach is a censored value, and every metric is therefore kept as
two bounds, low ≤ true value ≤ high: equal where it was measured, high = inf where it is above the
largest α ("> 2"), low = 0 where it is below the smallest ("< 0.01"). Means, ratios and intervals
carry both bounds: a mean over seeds of which one is "> 2" is itself only known to be above
something. α-valued metrics are averaged and compared as log α, so that they scale with α.
"""

import numpy as np
import pandas as pd

from analysis.intervals import RUN, baseline_of, draw_means, half_width
from analysis.verdicts import LEVEL

METRICS = {
    "alpha_point": "α at which accuracy has dropped by one point",
    "alpha_half": "α₅₀, at which accuracy is halfway between clean and chance",
    "area": "mean accuracy over log α",
    "retention": "accuracy at the largest α / accuracy at 0",
    "accuracy_curvature": "drop in accuracy per α², at small α",
    "loss_curvature": "rise of the loss per α², at small α (nats)",
}
"""The metrics and what they mean."""
LOG = ("alpha_point", "alpha_half")
"""Metrics that are averaged as logarithms (geometric means) and compared as ratios."""
POINT = 0.01
"""One point of accuracy."""
CHANCE = 0.1
"""Accuracy of guessing among ten classes, where the rows do not say."""
SMALL = 0.2
"""Largest α that counts as small in the curvatures."""

CENSORED_LEVEL = 0.99
"""Coverage asked of t-intervals with a censored value. Cutting values off at the largest α shrinks
their spread: asked for 95%, such intervals of 3 seeds cover 93%; asked for 99%, 95% and more."""

BOUNDS = ["seeds", "censored", "mean_low", "mean_high", "low", "high"]
"""Columns of a mean over seeds."""

Bounds = tuple[float, float]
NOT_KNOWN: Bounds = (float("nan"), float("nan"))
ANYTHING: Bounds = (0.0, float("inf"))
"""A model that guesses without noise has nothing to fall from, wherever its curve lies."""


def crossing(alpha: np.ndarray, value: np.ndarray, threshold: float) -> Bounds:
    """Return where a curve first falls to a threshold, linear in log α between measured points.

    Args:
        alpha: strengths > 0, ascending, (k,).
        value: the curve, (k,); its value at α = 0 is above the threshold.
        threshold: the level to cross.

    Returns:
        Bounds of the α: below the smallest, above the largest, or equal.
    """
    if not len(alpha):
        return NOT_KNOWN
    below = np.flatnonzero(value <= threshold)
    if not len(below):
        return float(alpha[-1]), float("inf")
    i = int(below[0])
    if i == 0:  # log α does not reach to α = 0
        return (0.0, float(alpha[0])) if value[0] < threshold else (float(alpha[0]),) * 2
    part = (value[i - 1] - threshold) / (value[i - 1] - value[i])
    found = float(np.exp((1 - part) * np.log(alpha[i - 1]) + part * np.log(alpha[i])))
    return found, found


def drop_crossing(alpha: np.ndarray, drop: np.ndarray, point: float, least: float) -> Bounds:
    """Return where a drop first reaches `point`, with log drop linear in log α between points.

    While it is small a drop grows like a power of α (α² to second order), so that a straight line
    from far below the point to far above it would put the crossing 17 to 28% too low.

    Args:
        alpha, drop: as in `crossing`, (k,) each; drops as fractions.
        point: the drop to reach.
        least: the least drop that is told from none; smaller ones are taken as this.
    """
    least = min(least, point / 2)
    return crossing(alpha, -np.log(np.maximum(drop, least)), -np.log(point))


def area(alpha: np.ndarray, value: np.ndarray) -> float:
    """Return the mean of a curve over log α, by the trapezoid rule; NaN for fewer than two α > 0.

    It is ∫ value d(log α) / log(last/first).
    """
    if len(alpha) < 2:
        return float("nan")
    log = np.log(alpha)
    return float(np.trapezoid(value, log) / (log[-1] - log[0]))


def small_curvature(alpha: np.ndarray, rise: np.ndarray, small: float = SMALL) -> float:
    """Return the least-squares c of rise = c·α² over 0 < α ≤ small; NaN if there is no such α.

    There is no term in α: the mean over ε and −ε is even in α, so its slope at 0 is zero.
    """
    near = (alpha > 0) & (alpha <= small)
    square = alpha[near] ** 2
    return float(square @ rise[near] / (square @ square)) if near.any() else float("nan")


def curve_metrics(rows: pd.DataFrame, point: float = POINT) -> pd.DataFrame:
    """Return every metric of every run: `RUN`, metric (in `METRICS`), low, high.

    A metric that a run's measurements do not allow is NaN.
    """
    means = draw_means(rows)
    chance = chance_of(rows)
    common = {name: common_alphas(part) for name, part in means.groupby(RUN[0], observed=True)}
    out = []
    for run, curve in means.groupby(RUN, observed=True):
        found = dict.fromkeys(METRICS, NOT_KNOWN) | of_curve(curve, chance[run], common[run[0]])
        if (curve.alpha == 0).any():
            found["alpha_point"] = one_point(curve, point)
        out += [(*run, name, *found[name]) for name in METRICS]
    table = pd.DataFrame(out, columns=[*RUN, "metric", "low", "high"])
    kinds = {name: rows[name].dtype for name in RUN}
    return table.astype({**kinds, "low": float, "high": float})


def of_curve(curve: pd.DataFrame, chance: float, common: np.ndarray) -> dict[str, Bounds]:
    """Return the metrics of one run, but for `one_point`.

    Args:
        curve: its rows of `draw_means`, ascending in α.
        chance: accuracy of guessing.
        common: the α > 0 that all runs of its architecture have.
    """
    alpha, accuracy = curve.alpha.to_numpy(), curve.accuracy.to_numpy()
    noisy, shared = alpha > 0, np.isin(alpha, common)
    metrics = {"area": (area(alpha[shared], accuracy[shared]),) * 2}
    if noisy.all():
        return metrics
    start, loss = accuracy[0], curve.loss.to_numpy()
    if start > chance or not noisy.any():
        metrics["alpha_half"] = crossing(alpha[noisy], accuracy[noisy], (start + chance) / 2)
    else:
        metrics["alpha_half"] = ANYTHING
    if shared.any():  # a run that was killed may have α = 0 alone
        metrics["retention"] = (float(curve.retention[shared].iloc[-1]),) * 2
    metrics["accuracy_curvature"] = (small_curvature(alpha, start - accuracy),) * 2
    metrics["loss_curvature"] = (small_curvature(alpha, loss - loss[0]),) * 2
    return metrics


def one_point(curve: pd.DataFrame, point: float) -> Bounds:
    """Return the α at which a run, with its α = 0 in the first row, has lost `point`."""
    noisy = curve[curve.alpha > 0]
    least = 0.5 / max(float((curve.images * curve.draws).max()), 1)
    return drop_crossing(noisy.alpha.to_numpy(), noisy["drop"].to_numpy(), point, least)


def chance_of(rows: pd.DataFrame) -> pd.Series:
    """Return the accuracy of guessing in each run, indexed by `RUN`."""
    known = rows if "chance" in rows else rows.assign(chance=CHANCE)
    return known.groupby(RUN, observed=True).chance.first().fillna(CHANCE)


def common_alphas(means: pd.DataFrame) -> np.ndarray:
    """Return the α > 0 that all runs with noise have, ascending, (k,).

    Args:
        means: rows with `RUN` and alpha, of one architecture.
    """
    noisy = means[means.alpha > 0].drop_duplicates([*RUN, "alpha"])
    counts = noisy.groupby("alpha").size()
    runs = len(noisy[RUN].drop_duplicates())
    return counts.index[counts == runs].to_numpy()


def mean_bounds(table: pd.DataFrame) -> dict[str, float]:
    """Return the mean over seeds of one metric's bounds, with a 95% t-interval.

    Each end of the interval comes from its own bound: with values above the largest α there is a
    lower end, at `CENSORED_LEVEL`, and no upper one. Where all seeds agree, or are all censored
    alike, there is no interval: a few equal values do not show that there is no variation.

    Args:
        table: a row per seed, all of one metric, as in `curve_metrics`.

    Returns:
        seeds (values that are known), censored (of them), mean_low, mean_high, low, high.
    """
    log = table.metric.iloc[0] in LOG
    known = table.dropna(subset=["low", "high"]).sort_values("seed")
    with np.errstate(divide="ignore"):
        ends = [np.log(known[s]) if log else known[s].astype(float) for s in ("low", "high")]
    n, censored = len(known), int((known.low != known.high).sum())
    level = CENSORED_LEVEL if censored else LEVEL
    means = [float(end.mean()) if n else float("nan") for end in ends]
    halves = []
    for end in ends:
        finite = n > 1 and np.isfinite(end).all() and end.max() > end.min()
        halves.append(half_width(end, level=level) if finite else float("inf" if n else "nan"))
    limits = [means[0] - halves[0], means[1] + halves[1]]
    values = np.exp([*means, *limits]) if log else [*means, *limits]
    return dict(zip(BOUNDS, (n, censored, *values), strict=True))


def metrics_over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return `mean_bounds` of every architecture, regime and metric; geometric for `LOG` ones."""
    key = ["architecture", "regime", "metric"]
    groups = metrics.groupby(key, observed=True, sort=False)
    found = [{**dict(zip(key, name, strict=True)), **mean_bounds(part)} for name, part in groups]
    table = pd.DataFrame(found, columns=[*key, *BOUNDS])
    return table.astype({"regime": metrics.regime.dtype})  # which knows the baseline


def paired_metrics(metrics: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return each regime against the baseline, seed by seed: ratios of `LOG` metrics, differences
    of the others, as bounds, in the columns of `curve_metrics`."""
    baseline = baseline or baseline_of(metrics)
    on = ["architecture", "seed", "metric"]
    base = metrics[metrics.regime == baseline].drop(columns="regime")
    both = metrics[metrics.regime != baseline].merge(base, on=on, suffixes=("", "_base"))
    log = both.metric.isin(LOG)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = both.low / both.high_base, both.high / both.low_base
    bounds = [
        ratio.where(log, difference)
        for ratio, difference in zip(
            ratios, (both.low - both.high_base, both.high - both.low_base), strict=True
        )
    ]
    return both[[*RUN, "metric"]].assign(low=bounds[0], high=bounds[1])
