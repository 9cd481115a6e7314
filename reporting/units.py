"""How large a noise is in given weights: a table. No torch, but what `noises` needs.

The size is RMS(w' − w)/std(W), which is α itself for the Gaussian family: it says which α "8% of
max|W|", "5 bits" or "one day of phase-change memory" are as large as, in this very model.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import noises
from noises.size import Sizes, Spread, realised
from reporting.text import NONE, Table, align, number

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = "all together"


def say_units(
    name: str,
    parameters: Mapping[str, "Tensor"],
    asked: Sequence[tuple[str, float]],
    draws: int,
    seed: int = 0,
) -> str:
    """Return the sizes of noise in a model's weights, by tensor and in all, as text.

    Args:
        name: of the model.
        parameters: its noisy weights by name.
        asked: families with a strength each.
        draws: over which sizes are averaged.
        seed: of the run, which the draws are of.
    """
    found = [realised(parameters, family, s, draws, run_seed=seed) for family, s in asked]
    return align(units_table(name, [f"{f} {noises.find(f).say(s)}" for f, s in asked], found))


def units_table(name: str, columns: Sequence[str], found: Sequence[Sizes]) -> Table:
    """Return a row per tensor and one for all of them, a column per noise."""
    body = [
        [tensor, *(say_spread(sizes.tensors[tensor]) for sizes in found)]
        for tensor in found[0].tensors
    ]
    body.append([WHOLE, *(say_spread(sizes.overall) for sizes in found)])
    draws = max(sizes.overall.draws for sizes in found)
    over = f"mean ± standard deviation over {draws} draws" if draws > 1 else "of one draw"
    caption = f"{name}: RMS(w' − w)/std(W), as large as noise of that α; {over}"
    return Table(caption, ["Parameter", *columns], body)


def say_spread(spread: Spread) -> str:
    """Return "mean ± standard deviation"; the mean alone of what has no draws."""
    mean = number(spread.mean)
    return mean if mean == NONE or spread.draws < 2 else f"{mean} ± {spread.std:.4f}"
