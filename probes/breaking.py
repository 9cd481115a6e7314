"""Where one model breaks, for a line on the terminal: nothing is kept."""

from collections.abc import Callable

import numpy as np
from torch import nn

from analysis.needs import lacking
from config import Sweep


def find_break(
    model: nn.Module,
    measure: Callable,
    sweep: Callable,
    draws: int,
    seed: int,
    chance: float,
    **patterns,
) -> str:
    """Return in words at which α the accuracy of a model is halfway to chance.

    Args:
        model, measure, patterns: see `evaluate.sweep`.
        sweep: that function.
        draws: their number at each strength; the crossing is that of their mean.
        seed: with the draw, the key of the noise.
        chance: accuracy of guessing.
    """
    from analysis.curves import crossing  # pandas and SciPy: no worker needs them

    asked, rows = Sweep(alphas=(0.0, 0.1), draws=draws, find_break=True), []
    while points := lacking(rows, asked, chance=chance):
        rows += sweep(model, measure, points, 0, seed, **patterns)
    by_alpha: dict[float, list[float]] = {}
    for alpha, _, _, correct, total, *_ in rows:
        by_alpha.setdefault(alpha, []).append(correct / total)
    alphas = sorted(by_alpha)[1:]
    start, *means = [sum(by_alpha[a]) / len(by_alpha[a]) for a in (0.0, *alphas)]
    low, high = crossing(np.array(alphas), np.array(means), (start + chance) / 2)
    if low != high:
        return f"not halfway to chance at α = {low:g}" if low else f"broken below α = {high:g}"
    return f"halfway to chance at α = {low:.3g}"
