"""The figure of the curvature: where the second order holds, and how far. No torch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import flatness, intervals
from analysis.flatness import SMALL
from reporting.plots import looks, set_alpha_axis

GREY = "#555555"
ABOVE = 1.5
"""What is shown, on the logarithmic axis, as so many times the room for the legend above it."""


def draw_curvature(axes: Axes, terms: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Draw 2 × curvature term / α² against α: level to second order, kinks or not.

    A thick line is Σ s² tr(H), which is all of it where the loss has no kinks; a vertical one is
    the radius.

    Args:
        axes: where to draw.
        terms: `curvature.per_run`'s rows of one architecture.
        runs: `flatness.of_runs`' rows of it.
    """
    set_alpha_axis(axes, terms.alpha, zero=False)
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_formatter("{x:g}")  # powers would be mathematics, which is not parsed
    axes.yaxis.set_minor_formatter("")
    scale = 2 / terms.alpha**2
    half = terms.measured_half.fillna(0) * scale
    terms = terms.assign(here=terms.measured * scale, there=terms.rise * scale, half=half)
    every = looks(terms.regime)
    names = [name for name in every if (terms.regime == name).any()]
    least = terms.alpha.min()
    seen = [terms.here[terms.half < terms.here]]  # what pairs do not tell from 0 stretches no axis
    for i, regime in enumerate(names):
        look, mine = every[regime], terms[terms.regime == regime]
        shift = 1.03 ** (2 * i - len(names) + 1)  # regimes side by side
        color, n = look["color"], mine.seed.nunique()
        own = runs[runs.regime == regime]
        level = flatness.over_seeds(own, "trace")["mean"]
        axes.plot([least / 1.2, SMALL], [level, level], "-", color=color, lw=4, alpha=0.35)
        mean = intervals.over_seeds(mine, "here").reset_index()
        label = f"{regime}: measured, n = {n} seed{'s' if n > 1 else ''}"
        bars = {"capsize": 2, "lw": 1.5, "elinewidth": 1, "linestyle": look["linestyle"]}
        wide = mean.half if n > 1 else mine.half.to_numpy()  # one seed: over its pairs
        axes.errorbar(
            shift * mean.alpha, mean["mean"], wide, color=color, label=label,
            marker=look["marker"], **bars,
        )  # fmt: skip
        other = intervals.over_seeds(mine, "there").reset_index()
        axes.plot(other.alpha, other["mean"], ":", color=color, lw=1)
        found = flatness.radius_over_seeds(own)
        if found["mean_low"] == found["mean_high"]:
            axes.axvline(found["mean_low"], color=color, linestyle=look["linestyle"], lw=0.8)
        seen += [pd.Series([level])]
    axes.plot([], [], "-", color=GREY, lw=4, alpha=0.35, label="Σ s² tr(H), of the same draws")
    axes.plot([], [], ":", color=GREY, lw=1, label="rise on test images")
    axes.plot([], [], "-", color=GREY, lw=0.8, label="vertical: radius, a factor of 2")
    stretch(axes, pd.concat(seen))
    axes.set_ylabel("2 × curvature term / α² (nats)")
    axes.legend(loc="upper left")


def stretch(axes: Axes, values: pd.Series) -> None:
    """Make the vertical axis show positive values, with room above them for the legend."""
    values = values[np.isfinite(values) & (values > 0)]
    if len(values):
        low, high = values.min() / 2, values.max() * 2
        axes.set_ylim(low, high * max((high / low) ** (1 / ABOVE), 2))


def describe_pairs(terms: pd.DataFrame) -> str:
    """Return ", 32 pairs ±ε per seed and α" for a panel's title."""
    if terms.empty:
        return ""
    low, high = terms.pairs.min(), terms.pairs.max()
    return f", {low if low == high else f'{low} to {high}'} pairs ±ε per seed and α"
