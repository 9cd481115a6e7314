"""Trained under one noise, measured under another: heat map and tables. No torch."""

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import noises
from analysis.verdicts import BETTER, EQUIVALENT, WORSE
from reporting.plots import STYLE
from reporting.text import NONE, Table

SIGNS = {BETTER: "▲", WORSE: "▼", EQUIVALENT: "="}
"""What stands in a cell beside its number; nothing where it is unresolved."""
MOST = 30.0
"""Points at which the colours end."""
CAPTION = (
    "Accuracy of each training minus that without noise, in points, paired by seed. ▲ better, ▼ "
    "worse, = equivalent (within one point), none unresolved: the words of one column block share "
    "an error of 5%"
)


def heat_map(cells: pd.DataFrame, architecture: str) -> Figure:
    """Draw the matrix of one architecture: trainings down, noises and strengths across.

    Args:
        cells: as from `analysis.transfer.matrix`.
        architecture: whose.
    """
    mine = cells[cells.architecture == architecture]
    trainings = list(dict.fromkeys(zip(mine.trained, mine.strength, strict=True)))
    trainings.sort(key=lambda t: (list(dict.fromkeys(mine.trained)).index(t[0]), t[1]))
    blocks = list(dict.fromkeys(mine.noise))
    widths = [mine[mine.noise == noise].alpha.nunique() for noise in blocks]
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(2.4 + 0.5 * sum(widths), 1.6 + 0.3 * len(trainings)))
        figure.set_layout_engine("constrained")
        figure.suptitle(f"{architecture}: trained under one noise, measured under another")
        grid = figure.subplots(1, len(blocks), squeeze=False, width_ratios=widths)[0]
        for axes, noise in zip(grid, blocks, strict=True):
            image = draw_block(axes, mine[mine.noise == noise], noise, trainings)
        grid[0].set_yticks(range(len(trainings)), [f"{f} {say(f, s)}" for f, s in trainings])
        grid[0].set_ylabel("trained under")
        for axes in grid[1:]:
            axes.set_yticks([])
        bar = figure.colorbar(image, ax=list(grid), shrink=0.9, pad=0.01)
        bar.set_label("effect (points)")
    return figure


def draw_block(axes: Axes, block: pd.DataFrame, noise: str, trainings: list):
    """Draw the columns of one measured noise; return the image, for the colour bar."""
    strengths = sorted(block.alpha.unique())
    at = block.set_index(["trained", "strength", "alpha"])
    points = np.full((len(trainings), len(strengths)), np.nan)
    for i, training in enumerate(trainings):
        for j, alpha in enumerate(strengths):
            key = (*training, alpha)
            if key not in at.index:
                continue
            cell = at.loc[key]
            points[i, j] = 100 * cell.effect
            dark = abs(points[i, j]) > 0.6 * MOST
            text = f"{points[i, j]:+.1f}\n{SIGNS.get(cell.verdict, '')}".replace("+0.0", "0.0")
            style = {"ha": "center", "va": "center", "fontsize": 6, "linespacing": 0.9}
            axes.text(j, i, text.strip(), color="white" if dark else "black", **style)
    image = axes.imshow(points, cmap="PuOr", vmin=-MOST, vmax=MOST, aspect="auto")
    labels = [say(noise, alpha) for alpha in strengths]
    axes.set_xticks(range(len(strengths)), labels, rotation=45, ha="right", fontsize=7)
    axes.set_xlabel(f"measured under {noise}", fontsize=8)
    axes.grid(False)
    return image


def say(family: str, strength: float) -> str:
    """Return a strength as people write it."""
    return noises.find(family).say(strength) if strength else "0"


def best_table(best: pd.DataFrame, architecture: str) -> Table:
    """Return the best training strength of each family for each noise and strength."""
    mine = best[best.architecture == architecture]
    families = list(dict.fromkeys(mine.trained))
    body = []
    for (noise, alpha), part in mine.groupby(["noise", "alpha"], sort=False):
        found = {row.trained: row for row in part.itertuples()}
        cells = [say_best(found[f]) if f in found else NONE for f in families]
        body.append([f"{noise} {say(noise, alpha)}", *cells])
    caption = (
        f"{architecture}: the best strength to train with, of those tried and 0, for each noise "
        "that is measured [95% of choices in resampled seeds] (points gained against 0)"
    )
    return Table(caption, ["Measured under", *(f"Trained under {f}" for f in families)], body)


def say_best(row) -> str:
    """Return "0.7 [0.35, 0.7] (+3.20)"."""
    best, low, high = (say(row.trained, value) for value in (row.best, row.low, row.high))
    return f"{best} [{low}, {high}] ({100 * row.gain:+.2f})"
