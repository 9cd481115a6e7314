"""Round to nearest: quantisation of weights after training, symmetric about 0. It has no draws.

w' = step·round(w/step), half to even, where step = strength·max|W|, so that strength 0 is the
identity. **Two conventions are in use, and are different networks**:

- step = max|W|/(2^(b−1) − 1), /127 for 8 bits: codes −127 … 127, and the largest weight is kept.
  Ours: b bits are strength 1/(2^(b−1) − 1), which `step_of_bits` gives. So has aihwkit-lightning.
- step = max|W|/(2^(b−1) − ½), /127.5: codes −128 … 127, the largest weight cut where it is
  positive. So has torchao's `Int8WeightOnlyConfig`. It is reached by strength 1/127.5, on
  `quantization_channel`: at 1/(n + ½) a code is at most n.

Typical: 8 to 2 bits. Sources: Krishnamoorthi, arXiv:1806.08342; Nagel et al., arXiv:2106.08295.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from noises.draws import nothing
from noises.family import Family
from noises.scales import largest, largest_by_channel, reciprocal, wide

if TYPE_CHECKING:
    from torch import Tensor


def step_of_bits(bits: float) -> float:
    """Return the strength that is a number of bits, at least 2: 1/(2^(bits−1) − 1).

    Raises:
        ValueError: for anything but a whole number from 2 to 24.
    """
    if bits != int(bits) or not 2 <= bits <= 24:
        raise ValueError(f"takes a whole number of bits from 2 to 24, not {bits:g}")
    return 1 / (2 ** (int(bits) - 1) - 1)


def _levels(strength: float) -> float:
    """Return 1/strength, and exactly so where it is meant to be n or n + ½."""
    levels, halves = 1 / strength, round(2 / strength)
    return halves / 2 if abs(2 * levels - halves) < 1e-6 * halves else levels


def show_bits(strength: float) -> str:
    """Return "4 bits" for 1/7, "4 bits (half step)" for 1/7.5, and else the step."""
    levels = _levels(strength)
    for offset, kind in ((1, ""), (0.5, " (half step)")):
        bits = math.log2(levels + offset) + 1
        if bits == int(bits):
            return f"{int(bits)} bits{kind}"
    return f"step {strength:.3g}"


def codes(w: Tensor, top: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Return the whole numbers that stand for w, as floats in its shape, and the step.

    Args:
        top: max|W|, 0-d or broadcasting to w; where it is 0 all codes are 0.
        strength: the step relative to top.
    """
    levels = _levels(strength)
    step = top / levels
    q = (wide(w) * reciprocal(step)).round_()  # torchao multiplies too; dividing differs by a code
    return q.clamp_(max=math.ceil(levels - 0.5)), step


def apply_tensor(w, z, strength):
    """Return w rounded with one step for the whole tensor; z is not used."""
    q, step = codes(w, largest(w), strength)
    return q.mul_(step).to(w.dtype)


def apply_channel(w, z, strength):
    """Return w rounded with a step for each output channel (`scales.largest_by_channel`)."""
    q, step = codes(w, largest_by_channel(w), strength)
    return q.mul_(step).to(w.dtype)


quantization = Family(
    meaning="a step as large as the largest |w| of the tensor (2 bits; 1/127 is 8 bits)",
    strengths=tuple(map(step_of_bits, (8, 6, 5, 4, 3))),
    beyond=(step_of_bits(2),),
    apply=apply_tensor,
    unit=nothing,
    random=False,
    divisible=False,
    show=show_bits,
    numbers=0,
    gradient="0 almost everywhere",
    named=step_of_bits,
)
quantization_channel = replace(
    quantization,
    meaning="a step as large as the largest |w| of the output channel (2 bits; 1/127 is 8 bits)",
    apply=apply_channel,
)
