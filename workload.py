"""What there is to do: the state of each run on disk, its expected cost, and the plan in words."""

import functools

import torch
from torch.utils.flop_counter import FlopCounterMode

import checkpoints
import data
import models
import records
from config import Run, Sweep
from execute import Folders
from files import Damaged, Foreign
from plan import Plan

BACKWARD = 3  # a training step costs about three forward passes


def state_of(run: Run, sweep: Sweep, folders: Folders) -> str:
    """Return what is there of a run: "complete", "measure", "resume" or "new"."""
    try:
        record = records.load(folders.record(run))
    except (FileNotFoundError, Damaged, Foreign):
        record = None
    if not records.missing(record, sweep):
        return "complete"
    if checkpoints.final_path(folders.checkpoints, run).exists():
        return "measure"
    if checkpoints.resume_path(folders.checkpoints, run).exists():
        return "resume"
    return "new"


MEANING = {
    "complete": "complete: reused",
    "measure": "trained: only measurements are missing",
    "resume": "partly trained: goes on after the last epoch",
    "new": "new: train and measure",
}


def describe(plan: Plan, states: dict[Run, str], folders: Folders) -> str:
    """Return the plan in words: what is new, what is reused, and what is ignored and why."""
    r, s = plan.recipe, plan.sweep
    where = "validation images" if r.validation_size else "test images"
    lines = [
        f"Plan: {len(states)} runs = {len(plan.architectures)} architectures × "
        f"{len(plan.regimes)} regimes × {len(plan.seeds)} seeds on {r.dataset}",
        f"  train    {r.epochs} epochs, batch {r.batch_size}, peak learning rate {r.peak_lr:g}; "
        f"noisy: α = {r.alpha_train:g}",
        f"  measure  α = {' '.join(f'{a:g}' for a in s.alphas)}; {s.draws} draws on "
        f"{s.test_size or 'all'} {where}",
    ]
    for state, meaning in MEANING.items():
        names: dict[str, list[int]] = {}
        for run in (run for run, found in states.items() if found == state):
            names.setdefault(f"{run.architecture} {run.regime}", []).append(run.seed)
        if names:
            listed = (f"{name} ({' '.join(map(str, seeds))})" for name, seeds in names.items())
            lines.append(f"  {meaning}: {', '.join(listed)}")
    ignored = find_ignored(plan, folders)
    lines += [f"  ignored: {line}" for line in ignored[:10]]
    if len(ignored) > 10:
        lines.append(f"  ignored: {len(ignored) - 10} more files")
    return "\n".join(lines)


def find_ignored(plan: Plan, folders: Folders) -> list[str]:
    """Return a message for each file in the folders that this recipe does not use."""
    good, problems = records.load_all(folders.results / "runs")
    mine, ignored = plan.select(good)
    names = {run.run_id for run in plan.runs} | {record["run_id"] for record in mine}
    others = {record["run_id"] for record in good} - names
    for path in sorted(folders.checkpoints.glob("*.pt")):
        run_id = path.name.removesuffix(".pt").removesuffix(".resume")
        if run_id not in names | others:
            ignored.append(f"{path}: of another recipe or program")
    return problems + ignored


@functools.cache
def flops(architecture: str) -> float:
    """Return the operations of one image's forward pass, counted by PyTorch."""
    model = models.build(architecture).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 28, 28).expand(1, 3, 28, 28))
    return float(counter.get_total_flops())


def cost(run: Run, sweep: Sweep) -> float:
    """Return the expected cost of a run, in operations."""
    spec = data.DATASETS[run.recipe.dataset]
    train = run.recipe.train_size or spec.train_count - run.recipe.validation_size
    test = sweep.test_size or run.recipe.validation_size or spec.test_count
    images = BACKWARD * run.recipe.epochs * train + len(sweep.points) * test
    return flops(run.architecture) * images
