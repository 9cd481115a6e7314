"""Plan the runs, print the plan, execute what is missing, report.

    python run_experiments.py                      # four architectures, clean and noisy, 3 seeds
    python run_experiments.py mlp cnn resnet18     # some of them; a later run adds the others
    python run_experiments.py --help

Exit status: 0 what was asked for is complete, 1 a run failed, 2 wrong input (nothing was
written), 130 interrupted.
"""

import functools
import shlex
import signal
import sys
import time

import torch

import checkpoints
import data
import machine
import models
import options
import plan as plans
import records
import report
from config import Run, Sweep
from execute import Folders, execute
from files import Damaged, Foreign, sweep_leftovers
from plan import Plan
from pool import run_jobs
from progress import Progress

BACKWARD = 3  # a training step costs about three forward passes


def main() -> int:
    """Run the program; return its exit status."""
    asked = options.read()
    try:
        options.check(asked)
        device = options.choose_device(asked.device)
        plan = options.make_plan(asked)
        folders = Folders(asked.data_dir, asked.checkpoint_dir, asked.results_dir)
        target = join_earlier_plan(plan, folders)
    except (options.UsageError, Damaged) as error:
        options.fail(error)
    try:
        data.load(plan.recipe.dataset, folders.data)  # before work starts; workers find it there
    except data.DataError as error:
        options.fail(error)
    signal.signal(signal.SIGTERM, _interrupt)
    for folder in (folders.checkpoints, folders.results, folders.results / "runs"):
        folder.mkdir(parents=True, exist_ok=True)
        sweep_leftovers(folder)
    plans.save(folders.results, target)

    started = time.monotonic()
    states = {run: state_of(run, plan.sweep, folders) for run in plan.runs}
    print(describe(plan, states, folders), flush=True)
    todo = [run for run, state in states.items() if state != "complete"]
    todo.sort(key=lambda run: -cost(run, plan.sweep))  # the longest first: both cores end together
    workers = asked.workers or machine.default_workers(device, asked.threads, len(todo))
    if todo:
        print(f"\n{len(todo)} runs to do, {workers} at a time, on {device}", flush=True)
    interrupted, failed = False, {}
    with Progress({run: cost(run, plan.sweep) for run in todo}, plan.sweep) as progress:
        work = functools.partial(
            _work,
            sweep=plan.sweep,
            folders=folders,
            device=str(device),
            provenance=machine.provenance(device, asked.threads) if todo else {},
        )
        setup = functools.partial(machine.prepare, asked.threads)
        try:
            failed = run_jobs(todo, work, workers, progress, setup)
        except KeyboardInterrupt:
            interrupted = True

    tables = report.rebuild(folders.results)
    print(f"\n{tables.text}")
    minutes = (time.monotonic() - started) / 60
    print(f"\n{minutes:.1f} min; tables and figures are in {folders.results}/")
    again = f"python {shlex.join(sys.argv)}"
    if failed:
        print(f"\n{len(failed)} of {len(todo)} runs failed:", file=sys.stderr)
        for run, reason in failed.items():
            print(f"  {run.run_id}: {reason}", file=sys.stderr)
    if failed or interrupted:
        print(f"Nothing finished is lost. To go on: {again}", file=sys.stderr)
    return 130 if interrupted else 1 if failed else 0


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _work(run: Run, tell, sweep: Sweep, folders: Folders, device: str, provenance: dict) -> None:
    execute(run, sweep, folders, torch.device(device), provenance, tell)


def join_earlier_plan(plan: Plan, folders: Folders) -> Plan:
    """Return the plan, with that of earlier commands where recipe and test agree."""
    try:
        return plan.joined(plans.load(folders.results))
    except FileNotFoundError:
        return plan


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
    from torch.utils.flop_counter import FlopCounterMode

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


if __name__ == "__main__":
    sys.exit(main())
