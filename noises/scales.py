"""What noise is relative to: 0-d or per output channel, float32 at least, on the device of w."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def wide(w: Tensor) -> Tensor:
    """Return w in float32, or as it is where it has more digits: noise is computed in no less."""
    import torch

    return w.to(torch.promote_types(w.dtype, torch.float32))


def largest(w: Tensor) -> Tensor:
    """Return max|W| of a tensor, 0-d; 0 for an empty one."""
    if not w.numel():
        return wide(w).new_zeros(())
    low, high = w.aminmax()
    return wide((-low).maximum(high))


def largest_by_channel(w: Tensor) -> Tensor:
    """Return max|W| of each output channel, (C, 1, …): channels lie along dimension 0.

    So they do in kernels of linear layers and convolutions. Transposed convolutions are taken as
    they are stored: dimension 0 is their input channel. A tensor without dimensions is one channel.
    """
    if w.dim() == 0 or not w.numel():
        return wide(w.abs())
    rows = w.abs().flatten(1) if w.dim() > 1 else w.abs().unsqueeze(1)
    return wide(rows.amax(1)).reshape(-1, *(1 for _ in w.shape[1:]))


def reciprocal(scale: Tensor) -> Tensor:
    """Return 1/scale, and 1 where that is not finite: nothing is to be divided there."""
    import torch

    tiny = torch.finfo(scale.dtype).tiny
    return scale.where(scale >= tiny, scale.new_ones(())).reciprocal()
