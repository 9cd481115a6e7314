"""Figures of the report: pure functions from rows to figures, and figures to bytes. No pyplot.

Readable in grey and by colour-blind readers: hues of Okabe and Ito (2008), and every regime has a
line style and a marker of its own beside its hue.
"""

import io
from collections.abc import Callable, Iterable, Sequence

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import stats
from config import REGIMES

HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
LOOKS = {
    name: {
        "color": HUES[i % len(HUES)],
        "linestyle": DASHES[i % len(DASHES)],
        "marker": MARKERS[i % len(MARKERS)],
    }
    for i, name in enumerate(REGIMES)
}
"""Colour, line style and marker of each regime."""
STYLE = [
    "default",  # whatever matplotlibrc the user has
    {
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 9,
        "grid.color": "#dddddd",
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.markersize": 4,
        "savefig.dpi": 150,
        "svg.hashsalt": "weight noise",  # or every file has ids of its own
    },
]
METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
"""What would make two files of one figure differ is left out."""
NO_RUNS = "no runs yet"
MANY = 2000
"""Points that are drawn as pixels if there are more: as vectors they would make a page heavy."""


def encode(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a `png`, `pdf` or `svg` file, the same every time."""
    buffer = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()


def describe_draws(rows: pd.DataFrame) -> str:
    """Return ", 5 draws per seed" or ", 10 to 40 draws per seed"; nothing without noise."""
    noisy = rows[(rows.alpha > 0) & (rows.sign > 0)]
    sizes = noisy.groupby([*stats.RUN, "alpha"], observed=True).size()
    if sizes.empty:
        return ""
    low, high = sizes.min(), sizes.max()
    count = f"{low} to {high}" if low < high else f"{low}"
    return f", {count} {'draw' if high == 1 else 'draws'} per seed and α"


def panels(
    draw: Callable[[Axes, pd.DataFrame], None],
    table: pd.DataFrame,
    architectures: Sequence[str],
    describe: Callable[[pd.DataFrame], str] = describe_draws,
) -> Figure:
    """Draw one panel per architecture, two side by side.

    Args:
        draw: draws the part of the table that is of one architecture, such as the functions below.
        table: a row per measurement, as in `stats`, or what `draw` and `describe` take instead.
        architectures: the panels; one without rows says so.
        describe: returns what the title says after the name.
    """
    count = max(len(architectures), 1)
    height, width = -(-count // 2), min(count, 2)
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(3.6 * width + 0.2, 3.0 * height))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(height, width, squeeze=False)
        for axes, name in zip(grid.flat, architectures, strict=False):
            mine = table[table.architecture == name]
            axes.set_title(f"{name}{describe(mine)}", fontsize=10)
            if mine.empty:
                axes.text(0.5, 0.5, NO_RUNS, ha="center", transform=axes.transAxes)
                axes.set(xticks=[], yticks=[])
                continue
            draw(axes, mine)
        for axes in grid.flat[len(architectures) :]:
            axes.set_axis_off()
    return figure


def draw_curves(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw accuracy against α: every seed faint, the mean bold, its 95% band over seeds."""
    origin = set_alpha_axis(axes, rows.alpha)
    curves = stats.draw_means(rows)
    means = stats.intervals(rows)
    for regime, look in LOOKS.items():
        mean = means[means.regime == regime].set_index("alpha")
        if mean.empty:
            continue
        seeds = curves[curves.regime == regime].pivot(
            index="alpha", columns="seed", values="accuracy"
        )
        for seed in seeds:
            draw_line(axes, seeds[seed].dropna(), origin, {**look, "marker": "_"}, 0.8, alpha=0.4)
        # a mean over fewer seeds would bend the curve: it stands only where all are there
        whole = mean["mean"].where(mean.seeds == seeds.shape[1])
        label = f"{regime} (mean, n = {seeds.shape[1]} seeds)".replace("1 seeds", "1 seed")
        draw_line(axes, whole, origin, look, 2, label=label)
        band = mean.where(whole.notna())
        edge, band = band[band.index == 0], band[band.index > 0]
        axes.fill_between(band.index, band.low, band.high, color=look["color"], alpha=0.15, lw=0)
        bars = {"fmt": "none", "ecolor": look["color"], "elinewidth": 1, "capsize": 2}
        axes.errorbar([origin] * len(edge), edge["mean"], edge.half, **bars)
    axes.set_ylabel("accuracy (fraction)")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left")


def draw_effects(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the paired effect on accuracy with its simultaneous 95% intervals, and every seed.

    Filled markers are resolved (better or worse), open ones are not; one seed alone has no
    interval, and no marker.
    """
    origin = set_alpha_axis(axes, rows.alpha)
    effects, seeds = stats.paired_effects(rows), stats.paired(rows)
    axes.axhline(0, color="black", lw=0.8)
    for i, (regime, look) in enumerate(LOOKS.items()):
        mine, dots = effects[effects.regime == regime], seeds[seeds.regime == regime]
        if mine.empty:
            continue
        shift = 1.05 ** (i - 1)  # regimes side by side
        spread = place(dots.alpha, origin) * shift
        seed = {"marker": "_", "linestyle": "", "ms": 7, "alpha": 0.6}
        seed["rasterized"] = len(dots) > MANY
        axes.plot(spread, 100 * dots.accuracy, color=look["color"], **seed)
        mine = mine[mine.half.notna()]
        for resolved, part in mine.groupby(mine.verdict != stats.UNRESOLVED):
            label = f"{regime} − {stats.BASELINE}, n = {mine.seeds.max()}"
            axes.errorbar(
                place(part.alpha, origin) * shift,
                100 * part.effect,
                100 * part.half,
                fmt=look["marker"],
                color=look["color"],
                mfc=look["color"] if resolved else "white",
                capsize=3,
                label=f"{label}, {'resolved' if resolved else stats.UNRESOLVED}",
            )
    set_points_axis(axes, "effect")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left")
    if effects.empty:
        axes.text(0.5, 0.6, "no paired runs yet", ha="center", transform=axes.transAxes)


def draw_spread(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw how far single draws lie from the mean of their seed: each one faintly, the 5% to 95%
    range and the median (inside seeds, averaged over them), and the worst."""
    noisy = rows[(rows.alpha > 0) & (rows.sign > 0)]
    origin = set_alpha_axis(axes, noisy.alpha, zero=False)
    means = noisy.groupby([*stats.RUN, "alpha"], observed=True)[["correct", "total"]]
    sums = means.transform("sum")
    away = 100 * (noisy.correct / noisy.total - sums.correct / sums.total)
    # moved to a mean of 0, so that the spread at every α shows at one scale
    spread = stats.spread_of(noisy.assign(value=away))
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


def find_origin(alphas: Iterable[float]) -> float:
    """Return where α = 0 stands on a log axis: left of the smallest α > 0, apart from it."""
    return min((a for a in alphas if a > 0), default=1.0) / 2.5


def place(alphas: pd.Series, origin: float) -> np.ndarray:
    """Return positions on the axis, α = 0 at `origin`."""
    return np.where(alphas > 0, alphas, origin)


def set_points_axis(axes: Axes, what: str) -> None:
    """Make the vertical axis one of points: a tenth of one and thirty are both in view."""
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = min(axes.get_ylim()[0], -1), max(axes.get_ylim()[1], 1)
    axes.set_ylim(low, high * 12)  # room for the legend
    axes.set_yticks([t for t in (-100, -10, -1, 0, 1, 10, 100) if low <= t <= high])
    axes.set_yticks([], minor=True)
    axes.set_ylabel(f"{what} (points, log beyond ±1)")


def set_alpha_axis(axes: Axes, alphas: pd.Series, zero: bool = True) -> float:
    """Make the horizontal axis one of log α, with 0 at its left end; return where 0 stands."""
    noisy = sorted({float(a) for a in alphas if a > 0})
    origin = find_origin(noisy)
    ticks = [a for a in noisy if f"{a:e}".startswith("1.000000")] or noisy  # powers of ten
    axes.set_xscale("log")
    axes.set_xlim(origin / 1.5, max(noisy, default=origin) * 1.4)
    axes.set_xticks([*([origin] if zero else []), *ticks])
    axes.set_xticklabels([*(["0"] if zero else []), *(f"{a:g}" for a in ticks)])
    axes.set_xticks([a for a in noisy if a not in ticks], [], minor=True)
    axes.set_xlabel("noise strength α (in std of each weight tensor)")
    return origin


def draw_line(
    axes: Axes, curve: pd.Series, origin: float, look: dict, width: float, label="_", alpha=1.0
) -> None:
    """Draw a curve over its α > 0, joined, and its value at α = 0 as a point at `origin`."""
    noisy, zero = curve[curve.index > 0], curve[curve.index == 0]
    line = {**look, "marker": ""} if look["marker"] == "_" else look
    axes.plot(noisy.index, noisy.to_numpy(), **line, lw=width, label=label, alpha=alpha)
    still = {**look, "linestyle": ""}
    axes.plot([origin] * len(zero), zero.to_numpy(), **still, alpha=alpha)
