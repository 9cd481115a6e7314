"""How large noise is, on one axis for all families: the realised RMS(w' − w)/std(W).

It is α itself for the default family, so that it says which α a noise of another family and
strength is as large as; whether equal sizes hurt equally is another question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import noises

if TYPE_CHECKING:
    from torch import Tensor

_CONSTANT = 1e-6  # a spread below this, relative to max|W|, is rounding


@dataclass(frozen=True)
class Spread:
    """A mean over draws and what single draws differ by."""

    mean: float
    std: float
    """Over draws, with n − 1; NaN for a single draw."""
    draws: int


@dataclass(frozen=True)
class Sizes:
    """The realised size of noise in a model."""

    tensors: dict[str, Spread]
    """By parameter; NaN for one without spread, whose weights are all equal."""
    overall: Spread
    """Over all weights of the tensors with spread, each in units of its own tensor's: the root of
    the mean of squares."""


def relative_size(w: Tensor, noisy: Tensor) -> float:
    """Return RMS(w' − w)/std(W) of a tensor, with the population standard deviation of the clean w.

    NaN for a tensor that is empty or without spread.
    """
    from noise import relative_std
    from noises.scales import largest, wide

    spread, top = relative_std(w).item(), largest(w).item()
    if not w.numel() or spread <= _CONSTANT * top:
        return math.nan
    difference = wide(noisy).sub(wide(w)).div_(spread)
    return difference.norm().item() / math.sqrt(w.numel())


class Weighed:
    """What a family does to weights, and how large it was in all of them together.

    Args:
        apply: of the family.
        parameters: clean weights by name, in the order in which they are given to it.
    """

    def __init__(self, apply: Callable, parameters: Mapping[str, Tensor]):
        from noise import relative_std
        from noises.scales import largest

        self.apply, self.turn, self.squares = apply, 0, 0.0
        self.spreads = []  # 0 for a tensor without spread, which does not count
        for w in parameters.values():
            spread = relative_std(w.detach()).item()
            self.spreads.append(spread if spread > _CONSTANT * largest(w.detach()).item() else 0.0)
        sizes = (w.numel() for w in parameters.values())
        self.weights = sum(n for n, spread in zip(sizes, self.spreads, strict=True) if spread)

    def __call__(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """Return the noisy weight, as `apply` does."""
        from noises.scales import wide

        noisy = self.apply(w, z, strength)
        if spread := self.spreads[self.turn]:
            self.squares += (wide(noisy).dist(wide(w)).item() / spread) ** 2
        self.turn = (self.turn + 1) % len(self.spreads)
        return noisy

    def take(self) -> float | None:
        """Return RMS(w' − w)/std(W) since the last time, over all tensors; None if none counts."""
        size = math.sqrt(self.squares / self.weights) if self.weights else None
        self.turn, self.squares = 0, 0.0
        return size


def overall_size(sizes: Mapping[str, float], counts: Mapping[str, int]) -> float:
    """Return the size in all of tensors with their sizes and numbers of weights; NaN of none."""
    known = {name: size for name, size in sizes.items() if not math.isnan(size)}
    weights = sum(counts[name] for name in known)
    squares = sum(counts[name] * size**2 for name, size in known.items())
    return math.sqrt(squares / weights) if weights else math.nan


def measure(
    parameters: Mapping[str, Tensor], family: str, strength: float, draws: Mapping[str, Tensor]
) -> tuple[dict[str, float], float]:
    """Return the size by parameter and in all of one draw: see `Sizes`.

    Args:
        parameters: clean weights by name, as from `noise.noisy_parameters`.
        family, strength: as in `noises.perturb`.
        draws: z by name, as from `noises.draw`.

    Raises:
        KeyError, ValueError: as `noises.perturb`.
    """
    sizes = {}
    for name, w in parameters.items():
        noisy = noises.perturb(w, family, strength, draws[name])
        sizes[name] = relative_size(w.detach(), noisy)
    return sizes, overall_size(sizes, {name: w.numel() for name, w in parameters.items()})


def realised(
    parameters: Mapping[str, Tensor],
    family: str,
    strength: float,
    draws: int = 5,
    noise_seed: int = 0,
    run_seed: int = 0,
) -> Sizes:
    """Return how large noise of a family and strength is in given weights, as an α.

    Args:
        parameters, family, strength: as in `measure`.
        draws: of which there is one for a family without draws.
        noise_seed, run_seed: as in `noises.draw`.

    Raises:
        KeyError, ValueError: as `noises.perturb`.
    """
    found: dict[str, list[float]] = {name: [] for name in parameters}
    overall = []
    for number in range(draws if noises.find(family).random else 1):
        z = noises.draw(family, parameters, noise_seed, run_seed, number)
        sizes, size = measure(parameters, family, strength, z)
        overall.append(size)
        for name in found:
            found[name].append(sizes[name])
    return Sizes({name: _spread(values) for name, values in found.items()}, _spread(overall))


def strength_of(parameters: Mapping[str, Tensor], family: str, size: float) -> float | None:
    """Return the strength at which noise of a family is, in all, as large as a size; or None.

    The inverse of `realised`, on draw 0 of seeds 0, to 0.1%; where strengths between two mean
    nothing, the one of the nearest size. None where the range of the family does not reach it.

    Args:
        size: an α, > 0.

    Raises:
        KeyError: if there is no such family.
    """
    kind, z = noises.find(family), noises.draw(family, parameters, 0, 0, 0)
    steps = (*kind.strengths, *kind.beyond)

    def size_at(strength: float) -> float:
        return measure(parameters, family, strength, z)[1]

    if not kind.divisible:
        sizes = {step: size_at(step) for step in steps}
        within = min(sizes.values()) <= size <= max(sizes.values())
        return min(steps, key=lambda s: abs(math.log(sizes[s] / size))) if within else None
    low, high = steps[0] * (1 if kind.jumps else 1e-4), steps[-1]
    if not size_at(low) <= size <= size_at(high):
        return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if size_at(middle) < size else (low, middle)
    return math.sqrt(low * high)


def _spread(values: list[float]) -> Spread:
    std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Spread(float(np.mean(values)) if values else math.nan, std, len(values))
