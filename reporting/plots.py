"""Figures of the report: pure functions from rows to figures, and figures to bytes. No pyplot.

Readable in grey and by colour-blind readers: hues of Okabe and Ito (2008), and every regime has a
line style and a marker of its own beside its hue.
"""

import io
from collections.abc import Callable, Sequence

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import intervals
from config import REGIMES
from reporting.scale import Scale, find_origin
from store.own import SCORE_UNIT

HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
STYLE = [
    "default",  # whatever matplotlibrc the user has
    {
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 8,
        "grid.color": "#dddddd",
        "legend.frameon": False,
        "legend.fontsize": 7,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,  # what conferences and journals ask for; type 3 is refused
        "savefig.dpi": 200,
        "text.parse_math": False,  # a name with dollars is a name
        "svg.fonttype": "none",  # text that can be searched, and a third of the size
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
COLUMN, TEXT = 3.25, 6.75
"""Inches: a column, and the text, of a page in two columns."""
FEW = 8
"""Entries of a legend that a panel has room for; more stand beside it, which is as high as they."""
MANY = 300
"""Points that are drawn as pixels if there are more: as vectors they would make a page heavy."""


def looks(regimes: pd.Series) -> dict[str, dict]:
    """Return colour, line style and marker of each regime: the registered ones, whose looks never
    change, then whatever else is a category of a table's column."""
    return {
        name: {
            "color": HUES[(i + i // 6) % len(HUES)],
            "linestyle": DASHES[(i + i // 12) % len(DASHES)],  # the pairs repeat after 12
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, name in enumerate(dict.fromkeys((*REGIMES, *regimes.cat.categories)))
    }


def encode(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a `png`, `pdf` or `svg` file, the same every time."""
    buffer = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(buffer, format=kind, metadata=METADATA[kind])
    return buffer.getvalue()


def describe_draws(rows: pd.DataFrame) -> str:
    """Return ", 5 draws per seed" or ", 10 to 40 draws per seed"; nothing without noise."""
    noisy = rows[(rows.alpha > 0) & (rows.sign > 0)]
    sizes = noisy.groupby([*intervals.RUN, "alpha"], observed=True).size()
    if sizes.empty:
        return ""
    low, high = sizes.min(), sizes.max()
    count = f"{low} to {high}" if low < high else f"{low}"
    return f", {count} {'draw' if high == 1 else 'draws'} per seed and α"


def panels(
    draw: Callable[..., None],
    frames: Sequence[pd.DataFrame],
    architectures: Sequence[str],
    describe: Callable[[pd.DataFrame], str] = describe_draws,
) -> Figure:
    """Draw one panel per architecture, two side by side.

    Args:
        draw: draws a panel: takes the axes, and of each frame the part of one architecture.
        frames: what `draw` takes; `describe` takes the first.
        architectures: the panels; one without rows in the first frame says so.
        describe: returns what the title says after the name.
    """
    count = max(len(architectures), 1)
    height, width = -(-count // 2), min(count, 2)
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(COLUMN if width == 1 else TEXT, 2.7 * height))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(height, width, squeeze=False)
        for axes, name in zip(grid.flat, architectures, strict=False):
            mine = [frame[frame.architecture == name] for frame in frames]
            axes.set_title(f"{name}{describe(mine[0])}", fontsize=9)
            if mine[0].empty:
                axes.text(0.5, 0.5, NO_RUNS, ha="center", transform=axes.transAxes)
                axes.set(xticks=[], yticks=[])
                continue
            draw(axes, *mine)
            move_out(axes)
            legend = axes.get_legend()
            for text in [axes.title, *(legend.get_texts() if legend else [])]:
                text.set_parse_math(False)  # a regime may have any name, with $ in it
        for axes in grid.flat[len(architectures) :]:
            axes.set_axis_off()
        most = max(len(axes.get_legend_handles_labels()[0]) for axes in grid.flat)
        if most > FEW:  # a legend has 6.8 entries in an inch; title and axis have the rest
            tall = max(2.7, most / 6.8 + 0.8)
            figure.set_size_inches(TEXT * (1 if width == 1 else 1.7), tall * height)
    return figure


def move_out(axes: Axes) -> None:
    """Put a legend that has no room in the panel beside it."""
    entries = axes.get_legend_handles_labels()
    if axes.get_legend() and len(entries[0]) > FEW:
        axes.legend(*entries, loc="upper left", bbox_to_anchor=(1, 1))


def place(alphas: pd.Series, origin: float) -> np.ndarray:
    """Return positions on the axis, α = 0 at `origin`."""
    return np.where(alphas > 0, alphas, origin)


def side_by_side(count: int, step: float = 1.05) -> list[float]:
    """Return factors of α that put the points of so many regimes beside each other, about 1: by
    `step` from one to the next, and less where they are many."""
    step **= min(1.0, 3 / count) if count else 0.0
    return [step ** (i - (count - 1) / 2) for i in range(count)]


def set_accuracy_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """Make the vertical axis one of accuracy; of a score it goes as far as that does."""
    if (rows.total == SCORE_UNIT).any():
        axes.set_ylabel("score")
        axes.margins(y=0.05)
        return
    axes.set_ylabel("accuracy (fraction)")
    axes.set_ylim(0, 1.02)


def set_points_axis(axes: Axes, what: str) -> None:
    """Make the vertical axis one of points: a tenth of one and thirty are both in view."""
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = min(axes.get_ylim()[0], -1), max(axes.get_ylim()[1], 1)
    inside = len(axes.get_legend_handles_labels()[0]) <= FEW
    axes.set_ylim(low, high * (12 if inside else 1.5))  # room for the legend
    axes.set_yticks([t for t in (-100, -10, -1, 0, 1, 10, 100) if low <= t <= high])
    axes.set_yticks([], minor=True)
    axes.set_ylabel(f"{what} (points, log beyond ±1)")


def set_alpha_axis(
    axes: Axes, alphas: pd.Series, zero: bool = True, scale: Scale | None = None
) -> float:
    """Make the horizontal axis one of log α, with 0 at its left end; return where 0 stands.

    Args:
        axes: the panel.
        alphas: the strengths.
        zero: whether 0 is one of the labels.
        scale: an axis of more than one width, from `find_scale`; its bend is marked.
    """
    noisy = sorted({float(a) for a in alphas if a > 0})
    axes.set_xlabel("noise strength α (in std of each weight tensor)")
    if scale:
        axes.set_xscale("function", functions=(scale.forward, scale.inverse))
        axes.set_xlim(*scale.inverse([-0.04, 1.04]))
        if scale.knee:
            axes.axvline(scale.knee, color="#bbbbbb", lw=0.8, linestyle=(0, (1, 2)), zorder=0)
        ticks, labels = zip(*scale.ticks(noisy))
        axes.set_xticks(ticks, labels)
        axes.set_xticks([a for a in noisy if a not in ticks], [], minor=True)
        return scale.origin
    origin = find_origin(noisy)
    ticks = [a for a in noisy if f"{a:e}".startswith("1.000000")] or noisy  # powers of ten
    axes.set_xscale("log")
    axes.set_xlim(origin / 1.5, max(noisy, default=origin) * 1.4)
    axes.set_xticks([*([origin] if zero else []), *ticks])
    axes.set_xticklabels([*(["0"] if zero else []), *(f"{a:g}" for a in ticks)])
    axes.set_xticks([a for a in noisy if a not in ticks], [], minor=True)
    return origin


def show_chance(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the accuracy of guessing, where rows say it."""
    if "chance" in rows and rows.chance.notna().any():
        line = {"color": "#555555", "lw": 0.9, "linestyle": (0, (4, 3)), "zorder": 1}
        axes.axhline(float(rows.chance.max()), label="chance", **line)


def above_chance(axes: Axes, rows: pd.DataFrame) -> float:
    """Return how high a legend stands, as a share of the panel, so as not to cover that line."""
    chance = float(rows.chance.max()) if "chance" in rows else 0.0
    low, high = axes.get_ylim()
    share = (chance - low) / (high - low)
    return share if 0 < share < 0.3 else 0.0
