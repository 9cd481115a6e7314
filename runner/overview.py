"""What there is to do: the state of each run on disk, its expected cost, and the plan in words."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import noises
from analysis.needs import family_sweeps, is_complete
from analysis.stages import find_open
from config import FIRST_METHODS, PROBE_IMAGES, REGIMES, Run, Sweep, say_parameters
from machine.checks import number_of
from runner import claims
from runner.costs import cost
from runner.trained import without_weights
from store import checkpoints, records
from store.folders import Folders
from store.plan import Plan
from store.records import Record
from store.stages import MOST_DRAWS
from train import teacher_of


def states_of(runs: Iterable[Run], plan: Plan, folders: Folders) -> dict[Run, str]:
    """Return what is there of each run: "complete", "measure", "lacking", "resume" or "new"."""
    shelf = Shelf(folders)
    return {run: look(run, plan.staged, plan.all_regimes, shelf)[0] for run in runs}


def find_behind(runs: Iterable[Run], plan: Plan, folders: Folders) -> list[Run]:
    """Return, of runs and those beside them, which are complete but for what another regime of
    their seed went on to."""
    shelf, regimes = Shelf(folders), plan.all_regimes
    beside = dict.fromkeys(r for run in runs for r in (run, *run.others(regimes)))
    return [
        run
        for run in beside
        if is_complete(shelf[run], plan.staged)
        and look(run, plan.staged, regimes, shelf)[0] != "complete"
    ]


class Shelf(dict):
    """The records of a results folder by run, each read once; None where there is no good one."""

    def __init__(self, folders: Folders):
        super().__init__()
        self.folders = folders

    def __missing__(self, run: Run) -> Record | None:
        self[run] = records.find(self.folders.record(run))
        return self[run]


def look(run: Run, sweep: Sweep, regimes: Iterable[str], shelf: Shelf) -> tuple[str, Record | None]:
    """Return the state of a run (see `states_of`), and its record where there is a good one."""
    record, folders = shelf[run], shelf.folders
    others = [shelf[other] for other in run.others(regimes)] if sweep.find_break else []
    if is_complete(record, sweep, others):
        return "complete", record
    if checkpoints.final_path(folders.checkpoints, run).exists():
        return "measure", record
    if record is not None:
        return "lacking", record
    if checkpoints.resume_path(folders.checkpoints, run).exists():
        return "resume", record
    return "new", record


MEANING = {
    "complete": "complete: reused",
    "measure": "trained: only measurements are missing",
    "lacking": "measured in part, and the weights are not there: trained anew it would be another",
    "resume": "partly trained: goes on after the last epoch",
    "new": "new: train and measure",
}


def describe(plan: Plan, states: dict[Run, str], folders: Folders) -> str:
    """Return the plan in words: what is new, what is reused, and what is ignored and why."""
    r, s = plan.recipe, plan.sweep
    where = "validation images" if r.validation_size else "test images"
    lines = [
        f"Plan: {number_of(len(plan.runs), 'run')} = "
        f"{number_of(len(plan.architectures), 'architecture')} × "
        f"{number_of(len(plan.regimes), 'regime')} × {number_of(len(plan.seeds), 'seed')} "
        f"on {r.dataset}",
        f"  train    {describe_epochs(plan)}, batch {r.batch_size}, "
        f"peak learning rate {r.peak_lr:g}{describe_noise(plan)}",
        f"  measure  α = {describe_strengths(s)}; {describe_draws(s)} on "
        f"{s.test_size or 'all'} {where}",
    ]
    if said := describe_methods(plan):
        lines.insert(2, f"  methods  {said}")
    if len(plan.all_regimes) > 1 and "clean" not in plan.all_regimes:
        lines.insert(2, "           without clean: accuracies alone, no cost, tolerance or ranking")
    if plan.undertrained:
        lines.insert(2, f"           {plan.undertrained} (--epochs)")
    if s.antithetic:
        pairs = ", ".join(f"{s.in_pairs(name).draws} of {name}" for name in plan.architectures)
        lines.append(f"           pairs ±ε on {PROBE_IMAGES:,} training images: {pairs}")
    for name, part in family_sweeps(s):
        family = noises.find(name)
        part = part if family.beyond else replace(part, find_break=False)
        strengths = describe_strengths(part, family.say)
        lines.append(f"           {name} = {strengths}; {describe_draws(part)}")
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


def describe_epochs(plan: Plan) -> str:
    """Return how long the models are trained, by architecture where that differs."""
    if budget := plan.recipe.budget:
        return f"each for what {number_of(budget, 'epoch')} of plain training cost"
    first, *others = {*plan.epochs.values()}
    if not others:
        return number_of(first, "epoch")
    return f"{', '.join(f'{name} {n}' for name, n in plan.epochs.items())} epochs"


def describe_noise(plan: Plan) -> str:
    """Return the strength of each regime that trains with noise, in words."""
    family = plan.recipe.train_noise
    sign = "α" if family == "gaussian" else family
    strengths = {name: REGIMES[name].noise * plan.recipe.alpha_train for name in plan.all_regimes}
    return "".join(f"; {name}: {sign} = {alpha:g}" for name, alpha in strengths.items() if alpha)


def describe_methods(plan: Plan) -> str:
    """Return the methods of training with their parameters, but for plain training and injection;
    "" where there is none."""
    runs = {run.regime: run for run in plan.runs if run.method not in FIRST_METHODS}
    said = []
    for name, run in runs.items():
        knobs = say_parameters(run.method)
        taught = ", taught by the clean run of its seed, trained if absent"
        said.append(name + (knobs and f" ({knobs})") + (taught if teacher_of(run) else ""))
    return "; ".join(said)


def describe_strengths(sweep: Sweep, show: Callable[[float], str] = "{:g}".format) -> str:
    """Return the strengths that a sweep asks for in words."""
    listed = " ".join(map(show, sweep.alphas))
    return f"{listed}, and on until halfway to chance" if sweep.find_break else listed


def describe_draws(sweep: Sweep) -> str:
    """Return in words how many draws a sweep asks for."""
    words = number_of(sweep.first_draws, "draw")
    if sweep.two_stage:
        words += f", then up to {max(MOST_DRAWS, sweep.first_draws)} where they spread,"
    if sweep.precision:
        words += f", then up to {sweep.max_draws} to know a mean to ± {sweep.precision:g},"
    return words


def find_ignored(plan: Plan, folders: Folders) -> list[str]:
    """Return a message for each file in the folders that this recipe does not use."""
    names = {run.run_id for run in plan.runs}
    others, problems = records.load_all(folders.results / "runs", skip=names)
    _, ignored = plan.select(others)
    names |= {record["run_id"] for record in others}
    strange = [
        path
        for path in sorted(folders.checkpoints.glob("*.pt"))
        if path.name.removesuffix(".pt").removesuffix(".resume") not in names
    ]
    if len(strange) > 3:  # a folder that is shared by several experiments
        more = f"{folders.checkpoints}: {len(strange)} files of other experiments, left as they are"
        return [*problems, *ignored, f"{more}, such as {strange[0].name}"]
    return [
        *problems,
        *ignored,
        *(f"{path}: of another experiment, left as it is" for path in strange),
    ]


def describe_status(plan: Plan, folders: Folders) -> str:
    """Return in words what is finished, in progress, failed and missing, and the time left."""
    lines: dict[str, list[str]] = {
        kind: [] for kind in ("in progress", "failed", "blocked", "stopped", "missing")
    }
    finished: list[tuple[Run, Record]] = []
    left, at_work = [], 0
    shelf = Shelf(folders)
    for run in plan.runs:
        state, record = look(run, plan.sweep_of(run), plan.all_regimes, shelf)
        if state == "complete":
            finished.append((run, record))
            continue
        left.append(run)
        facts = claims.read(claims.path(folders.results, run))
        at_work += bool(facts and facts["alive"])
        if state == "lacking" and not (facts and facts["alive"]):
            kind, text = "blocked", f": {without_weights(run, folders)}"
        else:
            kind, text = explain(state, facts)
        lines[kind].append(f"  {kind:<12} {run.run_id}{text}")
    counts = [f"{len(finished)} finished", *(f"{len(v)} {k}" for k, v in lines.items() if v)]
    text = [f"{len(plan.runs)} runs: {', '.join(counts)}"]
    for kind, shown in lines.items():
        text += shown[:20]
        if len(shown) > 20:
            text.append(f"  {kind:<12} and {len(shown) - 20} more")
    if names := find_open(plan):
        text.append(f"second stage of draws: not yet found for {', '.join(names)}")
    if left:
        text.append(time_left(left, finished, plan, max(1, at_work)))
    return "\n".join(text)


def explain(state: str, facts: dict | None) -> tuple[str, str]:
    """Return the kind of an unfinished run, and the details of its line."""
    details = ""
    if facts and "epoch" in facts:
        details = f", epoch {facts['epoch']} of {facts['of']}"
    elif facts and "done" in facts:
        details = f", {facts['done']} of {number_of(facts['of'], 'measurement')}"
    if facts and facts["alive"]:
        return "in progress", f": {facts['state']}{details}, heard of {facts['heard']:.0f} s ago"
    if facts and facts["state"] == "failed":
        return "failed", f": {facts.get('reason', 'no reason given')}"
    if facts and facts["state"] == "stopped":
        return "stopped", f": {facts.get('reason', '')}"
    if state == "new" and not facts:
        return "missing", ""
    known = {"measure": "trained", "resume": "partly trained"}.get(state, "begun")
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
