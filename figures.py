"""Figures of the report: pure functions from rows to figures, and figures to bytes. No pyplot.

Readable in grey and by colour-blind readers: hues of Okabe and Ito (2008), and every regime has a
line style and a marker of its own beside its hue.
"""

import io
from collections.abc import Sequence

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 9,
        "grid.color": "#dddddd",
        "legend.frameon": False,
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


def encode(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a `png`, `pdf` or `svg` file, the same every time."""
    buffer = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()


def robustness(rows: pd.DataFrame, architectures: Sequence[str] = ()) -> Figure:
    """Draw accuracy against α: a panel per architecture, every seed faint, the mean bold.

    Args:
        rows: a row per measurement, as in `report.Results.rows`.
        architectures: panels to show even if they have no rows yet.
    """
    names = list(dict.fromkeys((*architectures, *rows.architecture)))
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(3.6 * min(len(names), 2) + 0.4, 2.9 * -(-len(names) // 2)))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(-(-len(names) // 2), min(len(names), 2), sharey=True, squeeze=False)
        for axes, name in zip(grid.flat, names, strict=False):
            draw_curves(axes, rows[(rows.architecture == name) & (rows.sign > 0)])
            axes.set_title(name)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("test accuracy (fraction)")
    return figure


def draw_curves(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the curves of one architecture; α = 0 stands apart, at the left end of the log axis."""
    noisy = sorted(rows.alpha[rows.alpha > 0].unique())
    origin = noisy[0] / 2.5 if noisy else 0.1
    for regime, look in LOOKS.items():
        counts = rows[rows.regime == regime].groupby(["seed", "alpha"])[["correct", "total"]].sum()
        if counts.empty:
            continue
        curves = (counts.correct / counts.total).unstack("seed")  # (α, seed)
        mean = curves.mean(axis=1, skipna=False)  # an α that a seed lacks breaks the line
        for seed in curves:
            place(axes, curves[seed].dropna(), origin, {**look, "marker": ""}, alpha=0.35, lw=0.8)
        label = f"{regime} (mean of {curves.shape[1]} seeds)".replace("1 seeds", "1 seed")
        place(axes, mean, origin, look, lw=2, label=label)
    ticks = [a for a in noisy if f"{a:e}".startswith("1.000000")]  # powers of ten
    axes.set_xscale("log")
    axes.set_xticks([origin, *ticks], ["0", *(f"{a:g}" for a in ticks)])
    axes.set_xticks([a for a in noisy if a not in ticks], [], minor=True)
    axes.set_xlabel("noise strength α (in std of each weight tensor)")
    axes.set_ylim(0, 1.02)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left")


def place(axes: Axes, curve: pd.Series, origin: float, look: dict, label: str = "", **kw) -> None:
    """Draw a curve over its α > 0, joined, and its value at α = 0 as a point at `origin`."""
    noisy, zero = curve[curve.index > 0], curve[curve.index == 0]
    axes.plot(noisy.index, noisy.to_numpy(), **look, **kw, label=label or "_")
    marker = look["marker"] or "_"
    still = {**look, "linestyle": "", "marker": marker}
    axes.plot([origin] * len(zero), zero.to_numpy(), **still, **{k: kw[k] for k in kw if k != "lw"})
