"""What is done to a weight: families of noise, for any tensor.

To add one, give it a `Family` in a file of this folder and a line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noises.family import Family
from noises.gaussian import gaussian

if TYPE_CHECKING:  # a report knows the families, and needs no torch
    from torch import Tensor

FAMILIES: dict[str, Family] = {
    "gaussian": gaussian,
}


def unit(family: str, shape: tuple[int, ...], generator: np.random.Generator) -> Tensor:
    """Return a unit draw z of a family for a weight of a shape: float32, on the CPU.

    It knows neither the weight nor the strength: the same chip, whatever is programmed into it.

    Raises:
        KeyError: if there is no such family.
    """
    import torch

    z = FAMILIES[family].unit(tuple(shape), generator)
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


def perturb(w: Tensor, family: str, strength: float, z: Tensor) -> Tensor:
    """Return the weight w as noise of a family and strength leaves it: w' = apply(w, z, strength).

    Args:
        w: a weight tensor, of any shape; it is not changed.
        family: a key of `FAMILIES`.
        strength: in the family's own unit, ≥ 0; at 0 the result equals w.
        z: from `unit`, for the shape of w.

    Raises:
        KeyError: if there is no such family.
    """
    if strength == 0:
        return w.detach().clone()
    return FAMILIES[family].apply(w.detach(), z.to(w.device), strength)


def draw(
    family: str, parameters: Mapping[str, Tensor], noise_seed: int, run_seed: int, number: int
) -> dict[str, Tensor]:
    """Return evaluation draw `number` of a family: for each parameter's name, its z.

    As in `noise.unit_noise`, whose draws those of `gaussian` are: the key of NumPy's Philox is
    taken from "noise_seed/run_seed/draw/name", of the other families with "/family" behind it.
    """
    from noise import philox  # with torch, as in `unit`

    draws = {}
    for name, parameter in parameters.items():
        text = f"{int(noise_seed)}/{int(run_seed)}/{int(number)}/{name}"
        if family != "gaussian":
            text += f"/{family}"
        draws[name] = unit(family, parameter.shape, np.random.Generator(philox(text)))
    return draws
