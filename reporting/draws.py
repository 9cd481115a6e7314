"""How far single noise draws spread: table and figure. No torch."""

import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals
from reporting.plots import LOOKS, MANY, place, set_alpha_axis, set_points_axis
from reporting.text import Table, number


def draw_spread(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw how far single draws lie from the mean of their seed: each one faintly, the 5% to 95%
    range and the median (inside seeds, averaged over them), and the worst."""
    noisy = rows[(rows.alpha > 0) & (rows.sign > 0)]
    origin = set_alpha_axis(axes, noisy.alpha, zero=False)
    means = noisy.groupby([*intervals.RUN, "alpha"], observed=True)[["correct", "total"]]
    sums = means.transform("sum")
    away = 100 * (noisy.correct / noisy.total - sums.correct / sums.total)
    # moved to a mean of 0, so that the spread at every α shows at one scale
    spread = intervals.spread_of(noisy.assign(value=away))
    names = [name for name in LOOKS if (noisy.regime == name).any()]
    axes.axhline(0, color="black", lw=0.8)
    for i, regime in enumerate(names):
        look, mine = LOOKS[regime], spread[spread.regime == regime]
        shift = 1.06 ** (2 * i - len(names) + 1)  # regimes side by side
        dots = noisy.regime == regime
        color = {"color": look["color"], "linestyle": ""}
        x = place(noisy.alpha[dots], origin) * shift
        axes.plot(x, away[dots], marker="_", ms=4, alpha=0.5, rasterized=len(x) > MANY, **color)
        x = place(mine.alpha, origin) * shift
        axes.vlines(x, mine.q05, mine.q95, color=look["color"], lw=2.5, alpha=0.5)
        label = f"{regime}, n = {mine.seeds.max()}: median, 5–95%"
        axes.plot(x, mine.q50, marker=look["marker"], **color, label=label)
        axes.plot(x, mine.lowest, marker="x", **color)
    axes.plot([], [], "x", color="#555555", label="worst draw of any seed")
    set_points_axis(axes, "draw − seed mean")
    axes.legend(loc="upper left")


def spread_table(rows: pd.DataFrame, architecture: str) -> Table:
    """Return how single draws spread, by regime and α > 0."""
    spread = intervals.spread_of_draws(rows[rows.architecture == architecture])
    body = [
        [
            f"{row.alpha:g}",
            row.regime,
            *(number(v) for v in (row.q05, row.q50, row.q95, row.lowest)),
            f"{row.seeds} / {row.draws}",
        ]
        for row in spread[spread.alpha > 0].itertuples()
    ]
    body.sort(key=lambda row: float(row[0]))
    caption = (
        f"{architecture}: accuracy of single draws; quantiles inside a seed, averaged over seeds, "
        "and the worst draw of any seed"
    )
    header = ["α", "Regime", "5%", "median", "95%", "worst", "n seeds / draws"]
    return Table(caption, header, body)
