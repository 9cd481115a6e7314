"""Measure one trained model under weight noise: a row per (α, draw, sign).

    python evaluate.py                       # checkpoints of the MLP: accuracy at α = 0 and 0.1
    python evaluate.py --by-layer            # noise in one parameter tensor at a time

Within a seed, draw k of a tensor is the same unit noise for both regimes and for every α (common
random numbers), whatever ran before and in whatever order; see `noise.unit_noise`.
"""

import functools
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

import checkpoints
import data
import hessian
import machine
import models
import options
import records
from by_layer import measure_layers, report_layers
from config import PROBE_IMAGES, Run, Sweep
from data import Dataset, batches
from files import Damaged, Foreign
from noise import WeightNoise, noisy_parameters, unit_noise
from records import Record
from schedule import lacking

BATCH_SIZE = 500  # images at a time: large enough for full speed, small enough for the cache


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


def extend(
    record: Record, model: nn.Module, dataset: Dataset, asked: Sweep, run_seed: int
) -> Iterator[tuple[Record, int]]:
    """Measure what a sweep asks for and a record lacks, until it is complete.

    Antithetic sweeps are made on the first training images too, where the Hessian is estimated:
    prediction and measurement are then of the same loss.

    Args:
        record: the run's record; it is not changed.
        model: the trained model; it is left as it was.
        dataset: what the run trains and is measured on.
        asked: the sweep.
        run_seed: of the noise.

    Yields:
        The record with one more measurement, and how many more are known to be needed; 0 with the
        last one. More may turn out to be needed as the precision becomes known.
    """
    device = next(model.parameters()).device
    first = slice(PROBE_IMAGES)
    probed = dataset.train_images[first].to(device), dataset.train_labels[first].to(device)
    tested = dataset.test_images.to(device), dataset.test_labels.to(device)
    parts = [(tested, asked.settings, asked)]
    if asked.antithetic:
        parts.append((probed, asked.training_settings, replace(asked, precision=0.0)))
    traces = asked.antithetic and records.curvature(record, asked.trace_settings) is None

    def left(first: int) -> int:
        """Return how many measurements the parts from the `first` on are known to lack."""
        needed = (lacking(records.rows(record, s), part) for _, s, part in parts[first:])
        return traces + sum(map(len, needed))

    for i, (images, settings, part) in enumerate(parts):
        while todo := lacking(records.rows(record, settings), part):
            later = left(i + 1)
            rows = sweep(model, *images, todo, asked.noise_seed, run_seed)
            for remaining, row in zip(reversed(range(len(todo))), rows, strict=True):
                record = records.add(record, settings, [row])
                yield record, remaining + later if remaining else left(i)
    if traces:
        forms = hessian.estimate(model, *probed, asked.noise_seed, run_seed)
        block = {"settings": asked.trace_settings, "images": len(probed[1]), "forms": forms}
        yield records.add_curvature(record, block), 0


def load_model(path: Path) -> tuple[Run, nn.Module]:
    """Return the run of a finished checkpoint and its model, in evaluation mode, on the CPU.

    Raises:
        OSError: if it cannot be read.
        Damaged, Foreign: if it is not a finished run of this version.
    """
    content = checkpoints.load(path)
    try:
        if "training" in content:
            raise ValueError("a run that is still in training")
        run = Run.of(content["identity"])
        model = models.build(run.architecture)
        model.load_state_dict(content["model"])
    except (ValueError, KeyError, RuntimeError) as error:
        raise Foreign(f"{path}: {error}") from None
    return run, model.eval()


def find_models(folder: Path, architecture: str) -> Iterator[tuple[Run, nn.Module]]:
    """Yield the finished runs of an architecture in a folder, with their models, by name.

    Files that are damaged, foreign or of another version are skipped with a line on stderr.
    """
    for path in sorted(folder.glob(f"{architecture}-*.pt")):
        if path.name.endswith(".resume.pt"):
            continue
        try:
            yield load_model(path)
        except (Damaged, Foreign, OSError) as error:
            print(f"evaluate.py: left out: {error}", file=sys.stderr)


def print_drop(run: Run, model: nn.Module, images: Tensor, labels: Tensor, draws: int) -> None:
    """Measure a model at α = 0 and 0.1 and print the drop."""
    points = Sweep(alphas=(0, 0.1), draws=draws).points
    rows = list(sweep(model, images, labels, points, 0, run.seed))
    clean, *noisy = [correct / total for *_, correct, total, _ in rows]
    mean = sum(noisy) / len(noisy)
    print(
        f"{run.run_id}: acc@0 {clean:.4f}, acc@0.1 {mean:.4f} (mean of {draws} draws), "
        f"drop {clean - mean:+.4f}",
        flush=True,
    )


def main(
    architecture: str = "mlp",
    data_dir: Path = Path("data"),
    checkpoint_dir: Path = Path("checkpoints"),
    draws: int = 5,
    checkpoint: Path | None = None,
    by_layer: bool = False,
    alpha: float = 0.5,
    test_size: int = 0,
    results_dir: Path = Path("results"),
) -> None:
    """Measure checkpoints at α = 0 and 0.1 and print the drop; nothing is written. Or, by layer,
    measure noise in one parameter tensor at a time.

    Args:
        architecture: whose checkpoints to measure.
        data_dir: folder of the dataset files.
        checkpoint_dir: folder of the checkpoints.
        draws: noise draws at each α > 0.
        checkpoint: measure this file only.
        by_layer: noise in one parameter tensor at a time: a table, also as CSV, and a bar chart.
        alpha: noise strength of `by_layer`.
        test_size: measure on the first this many test images; 0 = all.
        results_dir: folder that `by_layer` writes to.
    """
    try:
        options.known("--architecture", [architecture], models.ARCHITECTURES)
        options.within("--draws", draws, 1, 1_000_000)
        options.positive("--alpha", alpha)
        options.within("--test-size", test_size, 0, 1_000_000, "0 = all")
        options.check_folder("--results-dir", results_dir)
        found = (
            [load_model(checkpoint)] if checkpoint else find_models(checkpoint_dir, architecture)
        )
    except options.UsageError as error:
        options.fail(error)
    except (OSError, Damaged, Foreign) as error:
        options.fail(options.UsageError(f"--checkpoint: takes a finished run's file; {error}"))
    machine.prepare(threads=1)
    measured = False
    for run, model in found:
        measured = True
        try:
            dataset = data.load(run.recipe.dataset, data_dir)
            options.within("--test-size", test_size, 0, len(dataset.test_labels), "0 = all")
        except options.UsageError as error:
            options.fail(error)
        except data.DataError as error:
            sys.exit(f"evaluate.py: {error}")
        if run.recipe.validation_size:  # the test set is for the final recipe
            dataset = data.split_validation(dataset, run.recipe.validation_size)
        end = test_size or None
        images, labels = dataset.test_images[:end], dataset.test_labels[:end]
        if by_layer:
            measure_it = functools.partial(measure, model, images, labels)
            rows = measure_layers(model, measure_it, len(labels), alpha, draws, run.seed)
            print(report_layers(run.run_id, model, rows, results_dir), flush=True)
        else:
            print_drop(run, model, images, labels, draws)
    if not measured:
        print(
            f"no {architecture} checkpoints in {checkpoint_dir}/; train some first: "
            "python train.py (two quick ones), or python run_experiments.py (all)"
        )


if __name__ == "__main__":
    tyro.cli(main)
