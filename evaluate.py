"""Measure one trained model under weight noise: a row per (α, draw, sign).

Within a seed, draw k of a tensor is the same unit noise for both regimes and for every α (common
random numbers), whatever ran before and in whatever order; see `noise.unit_noise`.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

import checkpoints
import data
import machine
import models
from config import Run, Sweep
from data import batches
from files import Damaged, Foreign
from noise import WeightNoise, noisy_parameters, unit_noise

BATCH_SIZE = 250  # images at a time: large enough for full speed, small enough for the cache


@torch.inference_mode()
def measure(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[int, float | None]:
    """Count the correct answers of a model in evaluation mode.

    Args:
        model: from pixels (B, 3, H, W) in [0, 1] to logits (B, classes).
        images: (N, H, W) uint8, on the model's device.
        labels: (N,) int64.

    Returns:
        The number of correct answers, and the cross-entropy summed over the N images in float64
        (None where it is not finite). An image whose logits are not finite is answered wrongly.
    """
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    for x, y in batches(images, labels, BATCH_SIZE):
        logits = model(x).double()  # (B, 3, H, W) -> (B, classes)
        hit = (logits.argmax(1) == y) & logits.isfinite().all(1)  # (B,)
        correct += hit.sum()
        loss += F.cross_entropy(logits, y, reduction="sum")
    total = loss.item()
    return int(correct.item()), total if math.isfinite(total) else None


def sweep(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    points: Iterable[tuple[float, int, int]],
    noise_seed: int,
    run_seed: int,
) -> Iterator[list]:
    """Measure a model at every asked-for point, in the order given.

    Args:
        model: a trained model; it is left as it was.
        images, labels: the test set, as in `measure`.
        points: (α, draw, sign); points of one draw are best given together, because the unit
            noise of a draw is made once and scaled for each α.
        noise_seed, run_seed: with the draw and the parameter's name, the key of the noise.

    Yields:
        Rows in the order of `records.COLUMNS`: alpha, draw, sign, correct, total, loss.
    """
    model.eval()
    noise = WeightNoise(model)
    parameters = noisy_parameters(model)
    drawn, unit = None, None
    for alpha, draw, sign in points:
        if alpha > 0 and drawn != draw:
            drawn, unit = draw, unit_noise(parameters, noise_seed, run_seed, draw)
        with noise(alpha, unit=unit, sign=sign):
            correct, loss = measure(model, images, labels)
        yield [float(alpha), draw, sign, correct, len(labels), loss]


def find_checkpoints(folder: Path, architecture: str) -> Iterator[tuple[Run, nn.Module]]:
    """Yield the finished runs of an architecture in a folder, with their models, by name.

    Files that are damaged, foreign or of another version are skipped with a line on stderr.
    """
    for path in sorted(folder.glob(f"{architecture}-*.pt")):
        if path.name.endswith(".resume.pt"):
            continue
        try:
            content = checkpoints.load(path)
            run = Run.of(content["identity"])
            model = models.build(run.architecture)
            model.load_state_dict(content["model"])
        except (Damaged, Foreign, ValueError, KeyError, RuntimeError) as error:
            print(f"evaluate.py: left out: {error}", file=sys.stderr)
            continue
        yield run, model.eval()


def main(
    architecture: str = "mlp",
    data_dir: Path = Path("data"),
    checkpoint_dir: Path = Path("checkpoints"),
    draws: int = 5,
) -> None:
    """Measure checkpoints at α = 0 and 0.1 and print the drop; nothing is written.

    Args:
        architecture: whose checkpoints to measure.
        data_dir: folder of the dataset files.
        checkpoint_dir: folder of the checkpoints.
        draws: noise draws at α = 0.1.
    """
    machine.prepare(threads=1)
    found = False
    for run, model in find_checkpoints(checkpoint_dir, architecture):
        found = True
        try:
            dataset = data.load(run.recipe.dataset, data_dir)
        except data.DataError as error:
            sys.exit(f"evaluate.py: {error}")
        images, labels = dataset.test_images, dataset.test_labels
        plan = Sweep(alphas=(0, 0.1), draws=draws)
        points = [(alpha, draw, 1) for alpha, draw in plan.points]
        rows = list(sweep(model, images, labels, points, plan.noise_seed, run.seed))
        clean, *noisy = [correct / total for *_, correct, total, _ in rows]
        mean = sum(noisy) / len(noisy)
        print(
            f"{run.run_id}: acc@0 {clean:.4f}, acc@0.1 {mean:.4f} (mean of {draws} draws), "
            f"drop {clean - mean:+.4f}",
            flush=True,
        )
    if not found:
        print(
            f"no {architecture} checkpoints in {checkpoint_dir}/; train some first: "
            "python train.py (two quick ones), or python run_experiments.py (all)"
        )


if __name__ == "__main__":
    tyro.cli(main)
