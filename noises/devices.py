"""Pairs of devices: a chip holds a weight as the difference of two conductances ≥ 0.

w → g⁺ = max(w, 0) and g⁻ = max(−w, 0), each with noise of its own, also where it is 0; then
w' = g⁺' − g⁻'. A draw has the numbers of g⁺ first, then as many of g⁻.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_IN_CACHE = 1 << 15  # elements; on a GPU as many as memory easily holds
_AT_ONCE = 1 << 24

Device = Callable[..., tuple["Tensor", ...]]
"""From a device's conductances g (n,) and the numbers of its draw, k times (n,), to what becomes
of them, (n,) each. It may write into g."""


def parts(w: Tensor) -> Iterator[slice]:
    """Yield slices of the flat weight, one after the other, each small enough for the cache."""
    size = _IN_CACHE if w.device.type == "cpu" else _AT_ONCE
    for start in range(0, w.numel(), size):
        yield slice(start, start + size)


def differences(w: Tensor, z: Tensor, device: Device) -> Iterator[tuple]:
    """Yield (part, g⁺' − g⁻', …) of a flat weight, part by part: a difference for each result.

    Args:
        w: (N,) the weight, flat, in the device's unit.
        z: 2·k numbers for each weight, in C order (2k, N).
        device: from g and its k numbers to results, of which the differences are yielded.
    """
    parts_of_w = list(parts(w))  # none, of an empty weight
    z = z.reshape(2, -1, w.numel()) if parts_of_w else z  # (2k, ...) -> (2, k, N)
    for part in parts_of_w:
        plus = device(w[part].clamp(min=0), *z[0, :, part])
        minus = device(w[part].neg().clamp_(min=0), *z[1, :, part])
        yield (part, *(a.sub_(b) for a, b in zip(plus, minus, strict=True)))
