"""What a family of noise says of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noises.draws import normals

if TYPE_CHECKING:
    from torch import Tensor


STEPS = (1, 1.4, 2, 3, 5, 7)
"""The strengths of a decade: each is 1.4 to 1.7 times the one before."""


def ladder(above: float, to: float) -> tuple[float, ...]:
    """Return the strengths between two, the upper included, on one fixed ladder for all families
    whose strength is a plain number."""
    decades = range(-6, 7)
    every = (float(f"{step}e{decade}") for decade in decades for step in STEPS)
    return tuple(s for s in every if above < s <= to)


@dataclass(frozen=True)
class Family:
    """A family of noise: w' = apply(w, z, strength), equal to w at strength 0."""

    meaning: str
    """What strength 1 is, in words."""
    strengths: tuple[float, ...]
    """Measured where none are asked for; all > 0."""
    apply: Callable[[Tensor, Tensor, float], Tensor]
    """From the clean weight w, the draw z and the strength (> 0) to the noisy weight, a new tensor
    of the shape and dtype of w; neither w nor z is written into. Larger strengths of one z are the
    same chip, worse."""
    unit: Callable[[tuple[int, ...], np.random.Generator], np.ndarray] = normals
    """From the shape of a weight to a draw z, of any shape: independent of weight and strength."""
    signed: bool = False
    """Whether −z is as likely a draw as z, and mirrors it."""
    random: bool = True
    """Whether there are draws at all; rounding has none."""
    beyond: tuple[float, ...] = ()
    """The strengths that the search for the break goes on to, one by one; the last is the end of
    the range in which the family means something, and the search ends there."""
    divisible: bool = True
    """Whether strengths between two others mean something; a number of bits is whole."""
    jumps: bool = False
    """Whether the smallest strength is already far from 0, so that nothing may be interpolated from
    there: by more than a tenth of the spread of the weights."""
    show: Callable[[float], str] = "{:g}".format
    """A strength as people write it, such as "1 d" or "4 bits"."""
    stream: str = ""
    """The family whose draws it shares, so that the two are compared on the same chips; "" is its
    own."""
    numbers: int = 1
    """How many numbers a draw has for each weight: z has the shape of the weight, or (numbers,
    *shape); 0 where there are no draws."""
    gradient: str = "1"
    """∂w'/∂w with the scale of the noise held constant, in words. Training takes 1 for every
    family: see `noises.training`."""
    relative: bool = True
    """Whether c·W has c times the noise of W: a strength says the same of every tensor."""
    listed: bool = False
    """Whether only `strengths` and `beyond` mean something."""
    most: float = math.inf
    """No strength is larger: a rate ends at 1."""
    named: Callable[[float], float] = float
    """The strength that a number in the name of a composition stands for: bits, for rounding."""

    def say(self, strength: float) -> str:
        """Return a strength as people write it; 0 is the clean weight."""
        return self.show(strength) if strength else "0"

    def strength_of(self, number: float) -> float:
        """Return the strength that a number on the command line stands for: of rounding, whose
        strengths are below 2, larger numbers are bits."""
        return self.named(number) if self.named is not float and number >= 2 else number

    def check(self, strength: float) -> None:
        """Raise ValueError, one sentence that says what is taken, for a strength that means
        nothing in this family; 0 is the clean weight in every one."""
        if self.listed and strength not in (0, *self.strengths, *self.beyond):
            taken = ", ".join(f"{s:g}" for s in (*self.strengths, *self.beyond))
            raise ValueError(f"takes one of the strengths {taken}, not {strength:g}")
        if not (math.isfinite(strength) and 0 <= strength <= self.most):
            rule = "a finite number ≥ 0" if math.isinf(self.most) else f"0 to {self.most:g}"
            raise ValueError(f"takes a strength of {rule}, not {strength:g}")
