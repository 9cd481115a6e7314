"""What is done to a weight: families of noise, for any tensor.

To add one, give it a `Family` in a file of this folder and a line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noises import additive, composed, faults, multiplicative, pcm, reram, rounding
from noises.family import Family
from noises.gaussian import gaussian

if TYPE_CHECKING:  # a report knows the families, and needs no torch
    from torch import Tensor

FAMILIES: dict[str, Family] = {
    "gaussian": gaussian,
    "gaussian_max": additive.gaussian_max,
    "gaussian_channel": additive.gaussian_channel,
    "gaussian_absolute": additive.gaussian_absolute,
    "uniform": additive.uniform,
    "multiplicative": multiplicative.multiplicative,
    "lognormal": multiplicative.lognormal,
    "lognormal_mean": multiplicative.lognormal_mean,
    "quantization": rounding.quantization,
    "quantization_channel": rounding.quantization_channel,
    "bit_errors": faults.bit_errors,
    "bit_errors_4": faults.bit_errors_4,
    "stuck_at": faults.stuck_at,
    "stuck_low": faults.stuck_low,
    "stuck_high": faults.stuck_high,
    "pcm": pcm.pcm,
    "pcm_uncompensated": pcm.pcm_uncompensated,
    "reram": reram.reram,
}
for _name in ("quantization_8+gaussian", "quantization_4+gaussian", "quantization_8+pcm"):
    FAMILIES[_name] = composed.resolve(_name, FAMILIES)


def find(family: str) -> Family:
    """Return a family by its name; also compositions that are not in `FAMILIES`, such as
    stuck_at_0.01+gaussian.

    Raises:
        KeyError: if there is no such family.
        ValueError: if the number in the name means nothing in the first family.
    """
    return composed.resolve(family, FAMILIES)


def exists(family: str) -> bool:
    """Return whether there is such a family: see `find`."""
    try:
        find(family)
    except (KeyError, ValueError):
        return False
    return True


def unit(family: str, shape: tuple[int, ...], generator: np.random.Generator) -> Tensor:
    """Return a unit draw z of a family for a weight of a shape: float32, on the CPU.

    It knows neither the weight nor the strength: the same chip, whatever is programmed into it.

    Raises:
        KeyError: if there is no such family.
    """
    import torch

    z = find(family).unit(tuple(shape), generator)
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


def perturb(w: Tensor, family: str, strength: float, z: Tensor) -> Tensor:
    """Return the weight w as noise of a family and strength leaves it: w' = apply(w, z, strength).

    Args:
        w: a weight tensor, of any shape; it is not changed.
        family: a key of `FAMILIES`, or a composition (`find`).
        strength: in the family's own unit, ≥ 0; at 0 the result equals w.
        z: from `unit`, for the shape of w.

    Raises:
        KeyError: if there is no such family.
        ValueError: if the strength means nothing in it, such as a rate above 1.
    """
    found = find(family)
    found.check(strength)
    if strength == 0:
        return w.detach().clone()
    return found.apply(w.detach(), z.to(w.device), strength)


def draw(
    family: str, parameters: Mapping[str, Tensor], noise_seed: int, run_seed: int, number: int
) -> dict[str, Tensor]:
    """Return evaluation draw `number` of a family: for each parameter's name, its z.

    As in `noise.unit_noise`, whose draws those of `gaussian` are: the key of NumPy's Philox is
    taken from "noise_seed/run_seed/draw/name", of the other families with "/family" behind it, or
    that family whose draws they share (`Family.stream`).
    """
    from noise import philox  # with torch, as in `unit`

    stream, draws = find(family).stream or family, {}
    for name, parameter in parameters.items():
        text = f"{int(noise_seed)}/{int(run_seed)}/{int(number)}/{name}"
        if stream != "gaussian":
            text += f"/{stream}"
        draws[name] = unit(family, parameter.shape, np.random.Generator(philox(text)))
    return draws
