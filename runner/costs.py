"""What a run costs, in operations, and parts of a plan that cost the same."""

import functools
import heapq

import torch
from torch.utils.flop_counter import FlopCounterMode

import data
import models
from analysis.needs import expected_more, expected_points, family_sweeps
from config import Run, Sweep
from methods import METHODS
from probes.batchnorm import has_batchnorm

BACKWARD = 3  # a training step costs about three forward passes


@functools.cache
def flops(architecture: str, dataset: str) -> float:
    """Return the operations of one image's forward pass, counted by PyTorch."""
    spec = data.DATASETS[dataset]
    shape = spec.shape
    model = models.build_for(architecture, spec).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, *shape[1:3]).expand(1, shape.channels, -1, -1))
    return float(counter.get_total_flops())


@functools.cache
def policies(architecture: str, dataset: str) -> int:
    """Return under how many BatchNorm policies an architecture is measured."""
    with torch.device("meta"):
        return 1 + has_batchnorm(models.build_for(architecture, data.DATASETS[dataset]))


def cost(run: Run, sweep: Sweep) -> float:
    """Return the expected cost of a run, in operations, with its second stage of draws."""
    return first_cost(run, sweep) + second_cost(run, sweep)


def second_cost(run: Run, sweep: Sweep) -> float:
    """Return the expected cost of a run's second stage of draws."""
    if not sweep.staged:
        return 0.0
    each = flops(run.architecture, run.recipe.dataset) * tested(run, sweep)
    return each * expected_more(sweep)


def tested(run: Run, sweep: Sweep) -> int:
    """Return how many images a run is measured on."""
    spec = data.DATASETS[run.recipe.dataset]
    return sweep.test_size or run.recipe.validation_size or spec.test_count


def first_cost(run: Run, sweep: Sweep) -> float:
    """Return the expected cost of training and of the first stage of draws."""
    spec = data.DATASETS[run.recipe.dataset]
    train = run.recipe.train_size or spec.train_count - run.recipe.validation_size
    parts = [sweep, *(part for _, part in family_sweeps(sweep))]
    passes = sum(map(expected_points, parts))
    if policies(run.architecture, run.recipe.dataset) > 1:
        passes += sum(expected_points(part.anew()) for part in parts)
    recipe, method = run.recipe, METHODS[run.method["name"]]
    epochs = recipe.budget or method.cost * recipe.epochs  # of plain training
    images = BACKWARD * epochs * train + passes * tested(run, sweep)
    return flops(run.architecture, run.recipe.dataset) * images


def shards(runs: list[Run], count: int, sweep: Sweep) -> list[list[Run]]:
    """Return `count` parts of the plan, balanced by expected cost, the costliest runs first.

    Each run, the costliest first, goes to the part with the least to do so far: the largest part
    has at most 4/3 of the least possible load (Graham, 1969), and hardly more than the mean where
    parts have many runs. The parts are disjoint and together the plan, on every machine.
    """
    parts: list[list[Run]] = [[] for _ in range(count)]
    loads = [(0.0, n) for n in range(count)]
    alike = {(run.architecture, run.regime, run.recipe): run for run in runs}  # a few of thousands
    costs = {kind: cost(run, sweep) for kind, run in alike.items()}

    def price(run: Run) -> float:
        return costs[run.architecture, run.regime, run.recipe]

    for run in sorted(runs, key=lambda run: (-price(run), run.run_id)):
        load, n = loads[0]
        heapq.heapreplace(loads, (load + price(run), n))
        parts[n].append(run)
    return parts
