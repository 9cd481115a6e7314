"""What a family of noise says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def normals(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return one standard normal per weight: the unit draw of most families."""
    return generator.standard_normal(shape)


@dataclass(frozen=True)
class Family:
    """A family of noise: w' = apply(w, z, strength), equal to w at strength 0."""

    meaning: str
    """What strength 1 is, in words."""
    strengths: tuple[float, ...]
    """Measured where none are asked for; all > 0."""
    apply: Callable[[Tensor, Tensor, float], Tensor]
    """From the clean weight w, the draw z and the strength (> 0) to the noisy weight, a new tensor
    of the shape of w. Larger strengths of one z are the same chip, worse."""
    unit: Callable[[tuple[int, ...], np.random.Generator], np.ndarray] = normals
    """From the shape of a weight to a draw z, of any shape: independent of weight and strength."""
    signed: bool = False
    """Whether −z is as likely a draw as z, and mirrors it."""
    random: bool = True
    """Whether there are draws at all; rounding has none."""
