"""One number per curve: pure functions of the measured rows. No torch.

`rows` are those of `intervals`. Metrics are of a run's draw means, then averaged over seeds.

A metric that a sweep does not reach is a censored value, and every metric is therefore kept as
two bounds, low ≤ true value ≤ high: equal where it was measured, high = inf where it is above the
largest α ("> 2"), low = 0 where it is below the smallest ("< 0.01"). Means, ratios and intervals
carry both bounds: a mean over seeds of which one is "> 2" is itself only known to be above
something. α-valued metrics are averaged and compared as log α, so that they scale with α.
"""

import numpy as np
import pandas as pd

from analysis.intervals import LEVEL, RUN, baseline_of, draw_means, half_width

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
"""Accuracy of guessing among ten classes."""
SMALL = 0.2
"""Largest α that counts as small in the curvatures."""

CENSORED_LEVEL = 0.99
"""Coverage asked of t-intervals with a censored value. Cutting values off at the largest α shrinks
their spread: asked for 95%, such intervals of 3 seeds cover 93%; asked for 99%, 95% and more."""

BOUNDS = ["seeds", "censored", "mean_low", "mean_high", "low", "high"]
"""Columns of a mean over seeds."""

Bounds = tuple[float, float]
NOT_KNOWN: Bounds = (float("nan"), float("nan"))


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


def area(alpha: np.ndarray, value: np.ndarray, low: float, high: float) -> float:
    """Return ∫ value d(log α) / log(high/low), by the trapezoid rule; NaN if the ends are missing.

    Divided by the width, it is the mean of the curve over log α.
    """
    if low >= high or not {low, high} <= set(alpha.tolist()):
        return float("nan")
    inside = (alpha >= low) & (alpha <= high)
    return float(np.trapezoid(value[inside], np.log(alpha[inside])) / np.log(high / low))


def small_curvature(alpha: np.ndarray, rise: np.ndarray, small: float = SMALL) -> float:
    """Return the least-squares c of rise = c·α² over 0 < α ≤ small; NaN if there is no such α.

    There is no term in α: the mean over ε and −ε is even in α, so its slope at 0 is zero.
    """
    near = (alpha > 0) & (alpha <= small)
    square = alpha[near] ** 2
    return float(square @ rise[near] / (square @ square)) if near.any() else float("nan")


def curve_metrics(rows: pd.DataFrame, chance: float = CHANCE, point: float = POINT) -> pd.DataFrame:
    """Return every metric of every run: `RUN`, metric (in `METRICS`), low, high.

    The area is taken, and retention read, over the same α for all: from the smallest to the
    largest non-zero α of `rows` (`alpha_range`). A metric that a run's measurements do not allow
    is NaN.
    """
    first, last = alpha_range(rows)
    out = []
    for run, curve in draw_means(rows).groupby(RUN, observed=True):
        alpha, accuracy = curve.alpha.to_numpy(), curve.accuracy.to_numpy()
        noisy = alpha > 0
        metrics = dict.fromkeys(METRICS, NOT_KNOWN)
        metrics["area"] = (area(alpha[noisy], accuracy[noisy], first, last),) * 2
        if not noisy.all():  # α = 0 was measured
            start = accuracy[0]
            loss = curve.loss.to_numpy()
            ends = {"alpha_point": start - point, "alpha_half": (start + chance) / 2}
            for name, threshold in ends.items():
                metrics[name] = crossing(alpha[noisy], accuracy[noisy], threshold)
            if alpha[-1] == last:
                metrics["retention"] = (float(curve.retention.iloc[-1]),) * 2
            metrics["accuracy_curvature"] = (small_curvature(alpha, start - accuracy),) * 2
            metrics["loss_curvature"] = (small_curvature(alpha, loss - loss[0]),) * 2
        out += [(*run, name, *bounds) for name, bounds in metrics.items()]
    table = pd.DataFrame(out, columns=[*RUN, "metric", "low", "high"])
    return table.astype({name: rows[name].dtype for name in RUN})


def alpha_range(rows: pd.DataFrame) -> Bounds:
    """Return the smallest and the largest α > 0 of the rows; NaN if there is none."""
    alphas = rows.alpha[(rows.alpha > 0) & (rows.sign > 0)]
    return float(alphas.min()), float(alphas.max())


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
    return pd.DataFrame(found, columns=[*key, *BOUNDS])


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
