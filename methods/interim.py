"""Two noise families that methods name, where `noises.FAMILIES` does not have them yet."""

import numpy as np
import torch
from torch import Tensor

from noises.family import Family


def rounded(w: Tensor, z: Tensor, strength: float) -> Tensor:
    """Return w rounded to multiples of strength·max|W|."""
    step = strength * w.abs().max()
    return torch.where(step > 0, (w / step).round() * step, w)


def flipped(w: Tensor, z: Tensor, strength: float) -> Tensor:
    """Return w in 8 bits between its least and largest value, bits flipped where z < strength."""
    low, high = w.min(), w.max()
    delta = 1.001 / 127
    codes = ((2 * (w - low) / (high - low) - 1) / delta + 128).clamp(max=255).round()
    codes = codes.to(torch.uint8)
    for bit, u in enumerate(z):
        codes = codes ^ ((u < strength).to(torch.uint8) << bit)
    u = ((codes.to(w.dtype) - 128) * delta).clamp(-1, 1)
    return ((u + 1) / 2 * (high - low) + low).clamp(low, high)


def uniforms(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return a uniform number for each bit of each weight, (8, *shape)."""
    return generator.random((8, *shape), dtype=np.float32)


INTERIM = {
    "quantization": Family(
        meaning="a step as large as the largest |w| of the tensor",
        strengths=(1 / 127, 1 / 7),
        apply=rounded,
        random=False,
        divisible=False,
    ),
    "bit_errors": Family(
        meaning="every bit flipped, of 8 bits a weight",
        strengths=(0.001, 0.01),
        apply=flipped,
        unit=uniforms,
    ),
}
