"""What noise in one parameter tensor at a time does to a trained model: `evaluate.py --by-layer`.

Every tensor has the noise that it has in the sweep: draw k of tensor `name` is the same, alone and
with all others. To second order the loss increases of the tensors then add up to that of the whole
model, in the mean over draws: the linear terms cancel draw by draw, and what is left of the others
(the additivity residual) is the noise of one tensor meeting that of another.
"""

from collections.abc import Callable, Iterable, Iterator

from torch import nn

from noise import WeightNoise, noisy_parameters, unit_noise

COLUMNS = ("parameter", "alpha", "draw", "correct", "total", "loss")
"""Columns of a row: the tensor's name ("" for all together), strength, draw number, counts of
images, loss summed over them."""


def measure_layers(
    model: nn.Module,
    measure: Callable[[nn.Module], tuple[int, int, float | None]],
    alpha: float,
    draws: int,
    run_seed: int,
    noise_seed: int = 0,
    noisy: Iterable[str] = (),
    clean: Iterable[str] = (),
) -> Iterator[tuple]:
    """Measure a model without noise, then in every draw with all tensors noisy and with each one.

    Args:
        model: a trained model in evaluation mode; it is left as it was.
        measure: from the model as it stands to its correct answers, of how many, and its summed
            loss (None where that is not finite).
        alpha: strength of the noise.
        draws: how many.
        run_seed, noise_seed: of the noise, as in the sweep.
        noisy, clean: name patterns for parameters of unknown use.

    Yields:
        Rows in the order of `COLUMNS`.
    """
    noise, parameters = WeightNoise(model, noisy, clean), noisy_parameters(model, noisy, clean)
    yield "", 0.0, 0, *measure(model)
    for draw in range(draws):
        unit = unit_noise(parameters, noise_seed, run_seed, draw)
        for name in ("", *parameters):
            with noise(alpha, unit={name: unit[name]} if name else unit):
                found = measure(model)
            yield name, alpha, draw, *found
