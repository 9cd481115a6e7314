"""How far single noise draws spread: table and figure. No torch."""

import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals
from reporting.plots import MANY, looks, place, set_alpha_axis, set_points_axis, side_by_side
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table, number


def section(results: Results) -> Section:
    """Return how single draws spread, by architecture."""
    spread, away = intervals.spread_of_draws(results.rows), from_mean(results.rows)
    frames = (results.rows, away, intervals.spread_of(away))
    title = "Spread of single noise draws"
    return Section(
        "draws",
        by_architecture={name: spread_table(spread, name) for name in results.measured},
        charts={"draws": Chart(title, draw_spread, frames, results.architectures)},
    )


def from_mean(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of α > 0 with `value`, how many points the accuracy of a draw lies above the
    mean of its seed: the spread at every α then shows at one scale."""
    noisy = rows[(rows.alpha > 0) & (rows.sign > 0)]
    means = noisy.groupby([*intervals.RUN, "alpha"], observed=True)[["correct", "total"]]
    sums = means.transform("sum")
    return noisy.assign(value=100 * (noisy.correct / noisy.total - sums.correct / sums.total))


def draw_spread(axes: Axes, rows: pd.DataFrame, away: pd.DataFrame, spread: pd.DataFrame) -> None:
    """Draw how far single draws lie from the mean of their seed: each one faintly, the 5% to 95%
    range and the median (inside seeds, averaged over them), and the worst.

    Args:
        axes: where to draw.
        rows, away, spread: measurements of one architecture, `from_mean` of them, and its spread.
    """
    origin = set_alpha_axis(axes, away.alpha, zero=False)
    every = looks(rows.regime)
    names = [name for name in every if (away.regime == name).any()]
    axes.axhline(0, color="black", lw=0.8)
    for regime, shift in zip(names, side_by_side(len(names), 1.06**2), strict=True):
        look, mine, dots = (every[regime], *(t[t.regime == regime] for t in (spread, away)))
        color = {"color": look["color"], "linestyle": ""}
        x = place(dots.alpha, origin) * shift
        axes.plot(x, dots.value, marker="_", ms=4, alpha=0.5, rasterized=len(x) > MANY, **color)
        x = place(mine.alpha, origin) * shift
        axes.vlines(x, mine.q05, mine.q95, color=look["color"], lw=2.5, alpha=0.5)
        label = f"{regime}, n = {mine.seeds.max()}: median, 5–95%"
        axes.plot(x, mine.q50, marker=look["marker"], **color, label=label)
        axes.plot(x, mine.lowest, marker="x", **color)
    axes.plot([], [], "x", color="#555555", label="worst draw of any seed")
    set_points_axis(axes, "draw − seed mean")
    axes.legend(loc="upper left")


def spread_table(spread: pd.DataFrame, architecture: str) -> Table:
    """Return how single draws spread (`intervals.spread_of_draws`), by regime and α > 0."""
    body = [
        [
            f"{row.alpha:g}",
            row.regime,
            *(number(v) for v in (row.q05, row.q50, row.q95, row.lowest)),
            f"{row.seeds} / {row.draws}",
        ]
        for row in spread[(spread.architecture == architecture) & (spread.alpha > 0)].itertuples()
    ]
    body.sort(key=lambda row: float(row[0]))
    caption = (
        f"{architecture}: accuracy of single draws; quantiles inside a seed, averaged over seeds, "
        "and the worst draw of any seed"
    )
    header = ["α", "Regime", "5%", "median", "95%", "worst", "n seeds / draws"]
    return Table(caption, header, body)
