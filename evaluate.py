"""Measure one trained model under weight noise: a row per (α, draw, sign).

    python evaluate.py                       # the MLP's checkpoints: α = 0, 0.1, and their break
    python evaluate.py cnn vit               # of others
    python evaluate.py --by-layer            # noise in one parameter tensor at a time
    python evaluate.py --model mine.py       # your own models: the whole sweep and report
    python evaluate.py --model torchvision:resnet18 --weights mine.pt --data folder:val

Within a seed, draw k of a tensor is the same unit noise for both regimes and for every α (common
random numbers), whatever ran before and in whatever order; see `noise.unit_noise`.
"""

from machine.process import steady_output  # first: it checks Python's version

import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

import data
import models
import noises
from config import Run, Sweep
from data import batches
from machine import offers, words
from machine.checks import UsageError, check_folder, fail, known, positive, shown, within
from noise import WeightNoise, noisy_parameters
from noises.size import Weighed
from noises.words import read_units
from probes import own_options
from probes.breaking import find_break
from probes.by_layer import measure_layers
from probes.own_command import evaluate_own, layers_of_own, sweep_own, units_of_own
from probes.saved import find_models, images_of, load_model
from sources.own import Own
from store.files import Damaged, Foreign
from store.folders import Folders
from store.plan import Plan
from store.records import Row

CHECKPOINTS = Path("checkpoints")
BATCH_SIZE = 500  # images at a time: large enough for full speed, small enough for the cache


Measure = Callable[[nn.Module], tuple[int, int, float | None]]
"""Measures a model as it stands: correct answers, of how many, loss summed over them."""


@torch.inference_mode()
def measure(
    model: nn.Module, images: Tensor, labels: Tensor, tell: Callable[[Tensor], None] | None = None
) -> tuple[int, int, float | None]:
    """Count the correct answers of a model in evaluation mode.

    Args:
        model: from pixels (B, C, H, W) in [0, 1] to logits (B, classes).
        images: (N, H, W) or (N, C, H, W) uint8, on the model's device: see `data.batches`.
        labels: (N,) int64.
        tell: called with each batch's (B,) booleans: which images were answered right.

    Returns:
        The number of correct answers, N, and the cross-entropy summed over the N images in float64
        (None where it is not finite). An image whose logits are not finite is answered wrongly.

    Raises:
        TypeError: if the images are not bytes.
    """
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    for x, y in batches(images, labels, BATCH_SIZE):
        logits = model(x).double()  # (B, C, H, W) -> (B, classes)
        hit = (logits.argmax(1) == y) & logits.isfinite().all(1)  # (B,)
        correct += hit.sum()
        if tell is not None:
            tell(hit)
        loss += F.cross_entropy(logits, y, reduction="sum")
    total = loss.item()
    return int(correct.item()), len(labels), total if math.isfinite(total) else None


def sweep(
    model: nn.Module,
    measure: Measure,
    points: Iterable[tuple[float, int, int]],
    noise_seed: int,
    run_seed: int,
    family: str = "gaussian",
    noisy: Iterable[str] = (),
    clean: Iterable[str] = (),
) -> Iterator[list]:
    """Measure a model, whatever it is and whatever its data are, at every asked-for point.

    Args:
        model: a trained model; it is put in evaluation mode, and its weights are left as they were.
        measure: called with the model under noise.
        points: (strength, draw, sign), measured in this order; points of one draw are best given
            together, because the unit noise of a draw is made once for all strengths.
        noise_seed, run_seed: with the draw and the parameter's name, the key of the noise.
        family: a key of `noises.FAMILIES`, or a composition of two.
        noisy, clean: name patterns for parameters of unknown use: see `noise.noisy_parameters`.

    Yields:
        Rows in the order of `records.COLUMNS`: alpha, draw, sign, correct, total, loss. Behind them
        stands, for another family than the Gaussian, the realised RMS(w' − w)/std(W) (None where
        the weights have no spread).

    Raises:
        ValueError: an unknown family, or a draw that is no number of one.
        noise.ParameterError: a parameter that is neither known to be noisy nor clean.
        TypeError: from `measure`, if it is given float images as bytes.
    """
    if not noises.exists(family):
        raise ValueError(f"{family!r} is no family of noise: {', '.join(noises.FAMILIES)} are")
    model.eval()
    noise = WeightNoise(model, noisy, clean)
    parameters = noisy_parameters(model, noisy, clean)
    # the Gaussian one is written in place, and takes no further memory
    weigh = None if family == "gaussian" else Weighed(noises.find(family).apply, parameters)
    drawn, unit = None, None
    for alpha, draw, sign in points:
        if not (isinstance(draw, Integral) and draw >= 0):
            raise ValueError(f"draw {draw!r}: draws are numbered 0, 1, 2 and so on")
        if alpha > 0 and drawn != draw:
            unit = None  # before the next is there: one draw in memory
            drawn, unit = draw, noises.draw(family, parameters, noise_seed, run_seed, draw)
        with noise(alpha, unit=unit, sign=sign, apply=weigh if alpha > 0 else None):
            correct, total, loss = measure(model)
        size = [] if weigh is None else [weigh.take()]
        yield [float(alpha), draw, sign, correct, total, loss, *size]


def main(
    architectures: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[ARCH ...]")
    ] = (),
    data_dir: Path = Path("data"),
    checkpoint_dir: Path = CHECKPOINTS,
    draws: int = 5,
    checkpoint: Path | None = None,
    by_layer: bool = False,
    alpha: float | None = None,
    units: tuple[str, ...] = (),
    test_size: int = 0,
    results_dir: Path = Path("results"),
    yours: Annotated[own_options.Options, tyro.conf.OmitArgPrefixes] = own_options.Options(),  # noqa: B008
) -> None:
    """Measure checkpoints at α = 0 and 0.1, print the drop, and where they are halfway to chance;
    nothing is written. Or, by layer, measure noise in one parameter tensor at a time. Or, with
    --model, measure your own models until they break, and write their report.

    Args:
        architectures: whose checkpoints to measure, such as `mlp cnn`; none means the MLP's.
        data_dir: folder of the dataset files.
        checkpoint_dir: folder of the checkpoints.
        draws: noise draws at each α > 0.
        checkpoint: measure this file only.
        by_layer: noise in one parameter tensor at a time: a table, also as CSV, and a bar chart.
        alpha: noise strength of `by_layer`; None = 0.5.
        units: how large these noises are in the weights, as an α, by tensor and in all, such as
            gaussian_max:0.08 quantization:5 pcm:86400; nothing is measured.
        test_size: measure on the first this many test images; 0 = all.
        results_dir: folder that `by_layer` writes to, and in which your own models have theirs.
        yours: your own models.
    """
    try:
        named = checkpoint is not None or checkpoint_dir != CHECKPOINTS
        instead = "--units" if units else "--by-layer" if by_layer else ""
        yours.check_beside(bool(architectures), named, instead)
        architectures = architectures or ("mlp",)
        known("ARCH", architectures, models.ARCHITECTURES)
        if alpha is not None and not by_layer:
            raise UsageError("--alpha: is for --by-layer; α = 0 and 0.1 are measured without it")
        alpha = 0.5 if alpha is None else alpha
        within("--draws", draws, 1, 1_000_000)
        positive("--alpha", alpha)
        within("--test-size", test_size, 0, 1_000_000, "0 = all")
        check_folder("--data-dir", data_dir, read_only=True)
        check_folder("--results-dir", results_dir)
        if not (checkpoint or checkpoint_dir == CHECKPOINTS or checkpoint_dir.is_dir()):
            raise UsageError(
                f"--checkpoint-dir: takes a folder of checkpoints; {shown(checkpoint_dir)} is not"
                " there (python train.py makes two)"
            )
        yours.check()
        asked_units = read_units(units)
        if yours.model:
            asked = yours.sweep(draws, test_size)
            folders = Folders(data_dir, checkpoint_dir, results_dir)
            if units:
                from reporting.units import say_units

                units_of_own(yours, asked, folders, asked_units, say_units)
                sys.exit()
            sys.exit(
                evaluate_own(yours, asked, folders, work_on_own(yours, asked, by_layer, alpha))
            )
        found = (
            [load_model(checkpoint, data_dir)]
            if checkpoint
            else find_models(checkpoint_dir, architectures, data_dir)
        )
    except UsageError as error:
        fail(error)
    except (OSError, Damaged, Foreign) as error:
        fail(UsageError(f"--checkpoint: takes a finished run's file; {error}"))

    offers.prepare(threads=1)
    measured = False
    for run, model in found:
        measured = True
        if units:
            print_units(run, model, asked_units, draws)
            continue
        images, labels = images_of(run, data_dir, test_size)
        measure_it = functools.partial(measure, images=images, labels=labels)
        if by_layer:
            print_layers(run, model, measure_it, alpha, draws, results_dir)
        else:
            print_drop(run, model, measure_it, draws)
    if not measured:
        print(
            f"no {' or '.join(architectures)} checkpoints in {checkpoint_dir}/; train some first: "
            "python train.py (two quick ones), or python run_experiments.py (all)"
        )


def print_drop(run: Run, model: nn.Module, measure: Measure, draws: int) -> None:
    """Measure a model at α = 0 and 0.1 and print the drop, and then where it breaks."""
    points = Sweep(alphas=(0, 0.1), draws=draws).points
    patterns = models.patterns(run.architecture)
    rows = [Row(*row) for row in sweep(model, measure, points, 0, run.seed, **patterns)]
    clean, *noisy = [row.correct / row.total for row in rows]
    mean = sum(noisy) / len(noisy)
    print(
        f"{run.run_id}: acc@0 {clean:.4f}, acc@0.1 {mean:.4f} (mean of {draws} draws), "
        f"drop {clean - mean:+.4f}, ",
        end="",
        flush=True,  # the break takes longer
    )
    chance = 1 / data.DATASETS[run.recipe.dataset].shape.classes
    print(find_break(model, measure, sweep, draws, run.seed, chance, **patterns), flush=True)


def print_layers(
    run: Run, model: nn.Module, measure: Measure, alpha: float, draws: int, folder: Path
) -> None:
    """Measure noise in one parameter tensor at a time, print the table and write it."""
    from reporting.by_layer import report_layers  # Matplotlib: no worker needs it

    patterns = models.patterns(run.architecture)
    rows = measure_layers(model, measure, alpha, draws, run.seed, **patterns)
    sizes = {n: p.numel() for n, p in noisy_parameters(model, **patterns).items()}
    print(report_layers(run.run_id, sizes, rows, folder), flush=True)


def print_units(run: Run, model: nn.Module, units: list[tuple[str, float]], draws: int) -> None:
    """Print how large noises are in the weights of a model."""
    from reporting.units import say_units

    noisy = noisy_parameters(model, **models.patterns(run.architecture))
    print(say_units(run.run_id, noisy, units, draws, run.seed), flush=True)


def work_on_own(yours: own_options.Options, asked: Sweep, by_layer: bool, alpha: float) -> Callable:
    """Return what is done with somebody's own models: see `own_command.evaluate_own`."""
    if by_layer:
        from reporting.by_layer import report_layers

        more = {"alpha": alpha, "draws": asked.draws, "report": report_layers}
        return functools.partial(layers_of_own, **more)

    def work(mine: Own, plan: Plan, folder: Path) -> None:
        sweep_own(mine, plan, folder, yours.device, sweep)
        print_own(folder, mine)

    return work


def print_own(folder: Path, mine: Own) -> None:
    """Make the report of somebody's own models, and print the answer."""
    import report  # Matplotlib and SciPy: no worker needs them
    from reporting import results, terminal

    found, known = report.rebuild(folder), results.read(folder)
    print(f"\n{terminal.show(known)}\n\nresults are in {folder}/ (open report.html)")
    print(terminal.say_others(known, mine.models, folder), end="")
    for message in found.missing:
        print(f"  missing: {message}")
    if found.missing:
        print("  (give the models of earlier commands once more, and they go as far as these)")


if __name__ == "__main__":
    steady_output()
    words.run(main)
