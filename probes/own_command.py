"""`evaluate.py --model`: from the command line to somebody's own models, measured.

What makes a report of it is given, since that stands above.
"""

import functools
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import data
from config import Sweep
from machine import offers
from machine.checks import UsageError, check_folder, fail, known
from noise import noisy_parameters
from probes import own, own_options, own_plan
from probes.by_layer import measure_layers
from sources.own import Own, inner
from store.files import Damaged, Foreign
from store.folders import Folders
from store.plan import Plan
from store.plan_file import save_plan
from store.records import Conflict


def evaluate_own(
    asked: own_options.Options,
    points: Sweep,
    folders: Folders,
    work: Callable[[Own, Plan, Path], None],
) -> int:
    """Work on somebody's own models; return the exit status.

    Args:
        asked: which models, on which data.
        points: what to measure.
        folders: of datasets, and of results, in which theirs has the name of the models.
        work: given the models, what is to be measured, and that folder.
    """
    find = functools.partial(find_images, folder=folders.data)
    try:
        mine = own_options.read(asked, find, points.test_size)
        folder = folders.results / mine.name
        check_folder("--results-dir", folder / "runs")
        # before any model is made: functions that train give the same weights each time
        offers.prepare(own_plan.threads_for(mine, asked.threads))
        plan = own_plan.make_plan(mine, points)
        print(own_plan.describe(mine), flush=True)
        work(mine, plan, folder)
    except (UsageError, Damaged, Foreign, Conflict) as error:
        fail(error)
    except KeyboardInterrupt:
        print(f"\nInterrupted; what was done is saved. To go on: python {shlex.join(sys.argv)}")
        return 130
    return 0


def sweep_own(mine: Own, plan: Plan, folder: Path, device: str, rows: own.Rows) -> None:
    """Measure somebody's own models to the end.

    Args:
        mine, plan, folder: see `evaluate_own`.
        device: where; "" = the CPU.
        rows: `evaluate.sweep`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as Ctrl-C does
    plan = own_plan.join_earlier(plan, folder, mine.names_baseline)
    own.try_measure(mine, plan, folder)
    save_plan(folder, plan)
    facts = offers.provenance(torch.device(device or "cpu"), torch.get_num_threads())
    own.measure_all(mine, plan, folder, rows, facts)


def layers_of_own(
    mine: Own, plan: Plan, folder: Path, alpha: float, draws: int, report: Callable[..., str]
) -> None:
    """Measure noise in one parameter tensor at a time of each of somebody's own models.

    Args:
        mine, plan, folder: see `evaluate_own`.
        alpha, draws: of the noise.
        report: from a model's name, the sizes of its tensors, the rows and the folder to words.
    """
    patterns = {"noisy": mine.task.noisy, "clean": mine.task.clean}
    for regime, seed in mine.models:
        outer = mine.model((regime, seed))
        model = inner(outer)
        sizes = {n: p.numel() for n, p in noisy_parameters(model, **patterns).items()}
        measure_it = functools.partial(own.measure_under, mine, outer, None)
        rows = measure_layers(model, measure_it, alpha, draws, seed, **patterns)
        print(report(f"{regime}-seed{seed}", sizes, rows, folder), flush=True)


def units_of_own(
    asked: own_options.Options,
    points: Sweep,
    folders: Folders,
    units: list[tuple[str, float]],
    say: Callable[..., str],
) -> None:
    """Print how large noises are in the weights of each of somebody's own models.

    Args:
        asked, points, folders: as in `evaluate_own`.
        units: families of noise and their strengths.
        say: from a model's name, its noisy parameters, the units, draws and seed to words.
    """
    find = functools.partial(find_images, folder=folders.data)
    mine = own_options.read(asked, find, points.test_size)
    for regime, seed in mine.models:
        model = inner(mine.model((regime, seed)))
        noisy = noisy_parameters(model, mine.task.noisy, mine.task.clean)
        print(say(f"{mine.name} {regime}", noisy, units, points.draws, seed), flush=True)


def find_images(name: str, folder: Path) -> tuple[Tensor, Tensor, int]:
    """Return the test images and labels of a dataset, and how many classes it has."""
    if name not in data.DATASETS and Path(name).is_dir():
        raise UsageError(f"--data: takes folder:PATH; for this folder, folder:{name}")
    known("--data", [name], data.DATASETS)
    try:
        found = data.load(name, folder)
    except data.DataError as error:
        raise UsageError(f"--data: {error}") from None
    return found.test_images, found.test_labels, found.classes
