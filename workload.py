"""What there is to do: the state of each run on disk, its expected cost, and the plan in words."""

import functools
import heapq

import torch
from torch.utils.flop_counter import FlopCounterMode

import checkpoints
import data
import models
import records
import status
from config import Run, Sweep
from execute import Folders
from files import Damaged, Foreign
from plan import Plan
from records import Record

BACKWARD = 3  # a training step costs about three forward passes


def state_of(run: Run, sweep: Sweep, folders: Folders) -> str:
    """Return what is there of a run: "complete", "measure", "resume" or "new"."""
    return look(run, sweep, folders)[0]


def look(run: Run, sweep: Sweep, folders: Folders) -> tuple[str, Record | None]:
    """Return the state of a run (see `state_of`), and its record where there is a good one."""
    try:
        record = records.load(folders.record(run))
    except (FileNotFoundError, Damaged, Foreign):
        record = None
    if records.is_complete(record, sweep):
        return "complete", record
    if checkpoints.final_path(folders.checkpoints, run).exists():
        return "measure", record
    if checkpoints.resume_path(folders.checkpoints, run).exists():
        return "resume", record
    return "new", record


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
        f"Plan: {len(plan.runs)} runs = {len(plan.architectures)} architectures × "
        f"{len(plan.regimes)} regimes × {len(plan.seeds)} seeds on {r.dataset}",
        f"  train    {r.epochs} epochs, batch {r.batch_size}, peak learning rate {r.peak_lr:g}; "
        f"noisy: α = {r.alpha_train:g}",
        f"  measure  α = {' '.join(f'{a:g}' for a in s.alphas)}; {describe_draws(s)} on "
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


def describe_draws(sweep: Sweep) -> str:
    """Return in words how many draws a sweep asks for."""
    words = f"{sweep.first_draws} draws"
    if sweep.precision:
        words = f"{sweep.first_draws} to {sweep.most_draws} draws, until ± {sweep.precision:g},"
    return f"pairs ±ε of {words}" if sweep.antithetic else words


def find_ignored(plan: Plan, folders: Folders) -> list[str]:
    """Return a message for each file in the folders that this recipe does not use."""
    names = {run.run_id for run in plan.runs}
    others, problems = records.load_all(folders.results / "runs", skip=names)
    _, ignored = plan.select(others)
    names |= {record["run_id"] for record in others}
    for path in sorted(folders.checkpoints.glob("*.pt")):
        run_id = path.name.removesuffix(".pt").removesuffix(".resume")
        if run_id not in names:
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


def shards(runs: list[Run], count: int, sweep: Sweep) -> list[list[Run]]:
    """Return `count` parts of the plan, balanced by expected cost, the costliest runs first.

    Each run, the costliest first, goes to the part with the least to do so far: the largest part
    has at most 4/3 of the least possible load (Graham, 1969), and hardly more than the mean where
    parts have many runs. The parts are disjoint and together the plan, on every machine.
    """
    parts: list[list[Run]] = [[] for _ in range(count)]
    loads = [(0.0, n) for n in range(count)]
    alike = {(run.architecture, run.recipe): run for run in runs}  # a few, of thousands of runs
    costs = {kind: cost(run, sweep) for kind, run in alike.items()}

    def price(run: Run) -> float:
        return costs[run.architecture, run.recipe]

    for run in sorted(runs, key=lambda run: (-price(run), run.run_id)):
        load, n = loads[0]
        heapq.heapreplace(loads, (load + price(run), n))
        parts[n].append(run)
    return parts


def describe_status(plan: Plan, folders: Folders) -> str:
    """Return in words what is finished, in progress, failed and missing, and the time left."""
    lines: dict[str, list[str]] = {"in progress": [], "failed": [], "stopped": [], "missing": []}
    finished: list[tuple[Run, Record]] = []
    left, at_work = [], 0
    for run in plan.runs:
        state, record = look(run, plan.sweep_of(run), folders)
        if state == "complete":
            finished.append((run, record))
            continue
        left.append(run)
        facts = status.read(status.path(folders.results, run))
        at_work += bool(facts and facts["alive"])
        kind, text = explain(state, facts)
        lines[kind].append(f"  {kind:<12} {run.run_id}{text}")
    counts = [f"{len(finished)} finished", *(f"{len(v)} {k}" for k, v in lines.items() if v)]
    text = [f"{len(plan.runs)} runs: {', '.join(counts)}"]
    for kind, shown in lines.items():
        text += shown[:20]
        if len(shown) > 20:
            text.append(f"  {kind:<12} and {len(shown) - 20} more")
    if left:
        text.append(time_left(left, finished, plan, max(1, at_work)))
    return "\n".join(text)


def explain(state: str, facts: dict | None) -> tuple[str, str]:
    """Return the kind of an unfinished run, and the details of its line."""
    details = ""
    if facts and "epoch" in facts:
        details = f", epoch {facts['epoch']} of {facts['of']}"
    elif facts and "done" in facts:
        details = f", {facts['done']} of {facts['of']} measurements"
    if facts and facts["alive"]:
        return "in progress", f": {facts['state']}{details}, heard of {facts['heard']:.0f} s ago"
    if facts and facts["state"] == "failed":
        return "failed", f": {facts.get('reason', 'no reason given')}"
    if facts and facts["state"] == "stopped":
        return "stopped", f": {facts.get('reason', '')}"
    if state == "new" and not facts:
        return "missing", ""
    known = {"measure": "trained", "resume": "partly trained", "new": "begun"}[state]
    return "stopped", f": {known}{details}"


def time_left(left: list[Run], finished: list[tuple[Run, Record]], plan: Plan, at_work: int) -> str:
    """Return the time that the runs left will take, judged by the finished ones, in words."""
    spent: dict[str, list[float]] = {}  # seconds per unit of cost, by architecture
    for run, record in finished:
        seconds = seconds_of(record)
        if seconds:
            spent.setdefault(run.architecture, []).append(seconds / cost(run, plan.sweep_of(run)))
    if not spent:
        return "time left: not known before the first run is finished"
    rates = {name: sum(values) / len(values) for name, values in spent.items()}
    usual = sum(rates.values()) / len(rates)
    seconds = sum(
        cost(run, plan.sweep_of(run)) * rates.get(run.architecture, usual) for run in left
    )
    minutes = seconds / 60 / at_work
    return f"time left: about {minutes:.0f} min with {at_work} at work, were all of it still to do"


def seconds_of(record: Record) -> float:
    """Return how long a finished run took to train and to measure, as far as its record says."""
    facts = record["provenance"]
    training, measuring = facts.get("training", {}), facts.get("measuring", {})
    return sum(training.get("epoch_seconds", ())) + measuring.get("seconds", 0.0)
