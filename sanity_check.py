"""The quick proof that the whole chain works: one MLP epoch in each regime, measured and judged.

Exit status 1, and a line that says why, when a shape is wrong, α = 0 changes anything, weights do
not come back bit for bit, an enormous α leaves more than chance, or noisy training clearly hurts.
"""

from machine.process import steady_output  # first: it checks Python's version

import functools
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import data
import models
from config import DEFAULT_REGIMES, Recipe, Run
from evaluate import measure, sweep
from machine import offers, words
from machine.checks import UsageError, check_folder, fail
from noise import weight_noise
from probes.breaking import find_break
from store.checkpoints import content_digest
from train import train

DRAWS = 5
ENORMOUS = 100.0  # noise a hundred times the weights: nothing of the training is left
CHANCE = (0.05, 0.20)  # ten classes: a tenth, give or take what five random functions vary
TOLERANCE = 0.01  # one point of accuracy: one-epoch models differ by less from run to run


class Insane(Exception):
    """A check failed; the message says which and how."""


def check_shapes(build=models.build) -> None:
    """Check every default architecture: (2, 3, 28, 28) -> (2, 10)."""
    for name in models.DEFAULT_ARCHITECTURES:
        with torch.inference_mode():
            shape = tuple(build(name).eval()(torch.rand(2, 3, 28, 28)).shape)
        if shape != (2, models.SEED.classes):
            raise Insane(
                f"{name} gives logits {shape} for two images, not (2, {models.SEED.classes})"
            )


def check_noise(model: nn.Module, images: Tensor, labels: Tensor, noise=weight_noise) -> None:
    """Check that α = 0 changes nothing and that weights come back bit for bit."""
    before, answer = content_digest(model.state_dict()), measure(model, images, labels)
    with noise(model, 0.0):
        if measure(model, images, labels) != answer:
            raise Insane("α = 0 changes what the model answers")
    with noise(model, 1.0, torch.Generator().manual_seed(0)):
        if content_digest(model.state_dict()) == before:
            raise Insane("α = 1 changes no weight")
    if content_digest(model.state_dict()) != before:
        raise Insane("weights do not come back bit for bit after noise")


def check_chance(accuracy: float) -> None:
    """Check the mean accuracy under enormous noise."""
    low, high = CHANCE
    if not low <= accuracy <= high:
        raise Insane(f"accuracy {accuracy:.3f} at α = {ENORMOUS:g} is not chance, {low} to {high}")


def check_drops(clean: float, noisy: float) -> None:
    """Check that the noisy-trained model does not drop clearly more than the clean one."""
    if noisy > clean + TOLERANCE:
        raise Insane(
            f"noisy-trained drops by {noisy:.4f}, clean-trained by {clean:.4f}: clearly worse "
            f"(by more than {TOLERANCE})"
        )


def accuracies(model: nn.Module, images: Tensor, labels: Tensor) -> dict[float, float]:
    """Return the mean accuracy over the draws at α = 0, 0.1 and `ENORMOUS`."""
    measure_it = functools.partial(measure, images=images, labels=labels)
    points = [(0.0, 0, 1), *((a, k, 1) for k in range(DRAWS) for a in (0.1, ENORMOUS))]
    found: dict[float, list[float]] = {}
    for alpha, _, _, correct, total, _ in sweep(model, measure_it, points, 0, 0):
        found.setdefault(alpha, []).append(correct / total)
    return {alpha: sum(values) / len(values) for alpha, values in found.items()}


def main(data_dir: Path = Path("data")) -> None:
    """Train an MLP for one epoch in each regime, and check the whole chain.

    Args:
        data_dir: folder of the dataset files.
    """
    offers.prepare(threads=1)
    try:
        check_folder("--data-dir", data_dir, read_only=True)
        dataset = data.load("mnist", data_dir)
        images, labels = dataset.test_images, dataset.test_labels
        check_shapes()
        drops = {}
        for regime in DEFAULT_REGIMES:
            run = Run("mlp", regime, seed=0, recipe=Recipe(epochs=1))
            model, _ = train(run, dataset, torch.device("cpu"))
            check_noise(model, images, labels)
            found = accuracies(model, images, labels)
            check_chance(found[ENORMOUS])
            drops[regime] = found[0.0] - found[0.1]
            measure_it = functools.partial(measure, images=images, labels=labels)
            print(
                f"{regime}: acc@0 {found[0.0]:.4f}, acc@0.1 {found[0.1]:.4f}, "
                f"drop {drops[regime]:+.4f}, "
                f"{find_break(model, measure_it, sweep, DRAWS, run.seed, 1 / dataset.classes)}",
                flush=True,
            )
        check_drops(drops["clean"], drops["noisy"])
    except Insane as error:
        sys.exit(f"Sanity check FAILED: {error}")
    except UsageError as error:
        fail(error)
    except data.DataError as error:
        fail(UsageError(f"--data-dir: {error}"))
    print("Sanity OK: noisy-trained has smaller or similar drop.")


if __name__ == "__main__":
    steady_output()
    words.run(main)
