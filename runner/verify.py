"""`--verify`: finished runs, chosen at random, are trained or measured again and compared.

A run whose checkpoint is there is measured again, any other one trained anew. Nothing is written.
What was computed with the same arithmetic must be the same to the last bit. With another, training
goes other ways after a while: then the first epoch's loss must agree within `LOSS`, and the mean
accuracy at every strength must be one that the other seeds let expect.
"""

import functools
import random
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from analysis.prediction import prediction_interval
from config import Run
from data import Dataset
from machine import arithmetic, offers
from machine.checks import UsageError
from runner.costs import cost
from runner.events import Kind
from runner.execute import extend, load_dataset
from runner.listeners import Progress
from runner.overview import Shelf, look, number_of
from runner.pool import Later, run_jobs, stopping
from runner.segments import segments
from store import checkpoints, records
from store.files import Damaged, Foreign
from store.folders import Folders
from store.plan import Plan
from store.records import Record
from train import Stopped, initial_model, train

LOSS = 0.002
"""How far the first epoch's loss may be off, as a fraction, with other arithmetic."""
LEVEL = 0.95
"""Probability that all accuracies of one run, which is as it should be, lie in their intervals."""
SAME, CONSISTENT, CONTRADICTS = "bit-identical", "consistent", "CONTRADICTS"


@dataclass(frozen=True)
class Again:
    """What a run gave the second time."""

    record: Record
    """As the one on disk, but with what was measured now."""
    trained: bool
    """Whether it was trained anew; else its checkpoint was measured."""


def verify(
    plan: Plan,
    folders: Folders,
    device: torch.device,
    threads: int,
    workers: int | None,
    count: int,
) -> int:
    """Verify `count` finished runs of a plan; print the verdicts and return the exit status.

    Raises:
        UsageError: if none is finished.
        KeyboardInterrupt: on Ctrl-C and the like, when no worker is left.
    """
    shelf = Shelf(folders)
    finished = [
        run
        for run in plan.runs
        if look(run, plan.sweep_of(run), plan.all_regimes, shelf)[0] == "complete"
    ]
    if not finished:
        raise UsageError(f"--verify: no run of the plan is finished in {folders.results}")
    chosen = random.SystemRandom().sample(finished, min(count, len(finished)))
    print(f"Verifying {len(chosen)} of {number_of(len(finished), 'finished run')}", flush=True)
    here = offers.provenance(device, threads)
    do = functools.partial(
        verify_run, plan=plan, folders=folders, device=str(device), provenance=here
    )
    words: list[str] = []
    with Progress({run: cost(run, plan.sweep) for run in chosen}) as progress:

        def on_event(run: Run, kind: str, facts: dict) -> None:
            progress(run, kind, facts)
            if kind == Kind.VERDICT:
                words.append(facts["word"])
                progress.say(run, f"{facts['word']}: {facts['text']}")

        workers = workers or offers.default_workers(device, threads, len(chosen))
        prepare = functools.partial(offers.prepare, threads, here["code"])
        failed = run_jobs(chosen, do, workers, on_event, prepare)
    counted = [f"{words.count(w)} {w}" for w in (SAME, CONSISTENT, CONTRADICTS) if w in words]
    counted += [f"{len(failed)} not verified"] if failed else []
    print(f"\n{number_of(len(chosen), 'run')}: {', '.join(counted)}")
    return 1 if failed or CONTRADICTS in words else 0


def verify_run(run: Run, tell, plan: Plan, folders: Folders, device: str, provenance: dict) -> None:
    """Verify one run in a worker, and tell the verdict."""
    record = records.load(folders.record(run))
    try:
        again = repeat(run, record, tell, plan, folders, torch.device(device))
    except Stopped as error:
        raise Later(str(error)) from None
    shelf = Shelf(folders)
    others = [
        shelf[other]
        for other in plan.runs
        if (other.architecture, other.regime) == (run.architecture, run.regime)
        and other.seed != run.seed
    ]
    word, text = judge(record, again, [o for o in others if o], provenance)
    tell(Kind.VERDICT, word=word, text=text)


def repeat(
    run: Run, record: Record, tell, plan: Plan, folders: Folders, device: torch.device
) -> Again:
    """Train a run anew, unless its checkpoint is there, and measure it."""
    sweep = plan.sweep_of(run)
    dataset = load_dataset(run, sweep, folders.data)
    model, history = model_of(run, dataset, tell, folders, device)
    model.register_forward_pre_hook(lambda *_: (stopping(), None)[1])  # each is a sign of life
    weights = checkpoints.content_digest(model.state_dict())
    found = {**record, "weights": weights, "measurements": []}
    found["history"] = record["history"] if history is None else history
    others = [records.find(folders.record(other)) for other in run.others(plan.all_regimes)]
    steps = extend(found, model, dataset, sweep, run, others)
    for done, (grown, left) in enumerate(steps, start=1):
        found = grown
        tell(Kind.POINT, done=done, of=done + left)
        if stopping():
            raise Stopped(f"after {done} of {done + left} measurements")
    return Again(found, trained=history is not None)


def model_of(
    run: Run, dataset: Dataset, tell, folders: Folders, device: torch.device
) -> tuple[nn.Module, list[float] | None]:
    """Return the trained model of a run, and its losses if it was trained just now."""
    try:
        content = checkpoints.load(checkpoints.final_path(folders.checkpoints, run), run)
    except (FileNotFoundError, Damaged, Foreign):
        return train(run, dataset, device, None, functools.partial(tell_epoch, tell), stopping)
    model = initial_model(run)
    model.load_state_dict(content["model"])
    return model.to(device).eval(), None


def tell_epoch(tell, state: dict) -> None:
    """Tell of an epoch that is done."""
    if state["training"]["step"] == 0:
        tell(Kind.EPOCH, epoch=state["epoch"], loss=state["history"][-1], seconds=0.0)


def judge(record: Record, again: Again, others: Iterable[Record], here: dict) -> tuple[str, str]:
    """Return the verdict on a run, and what it is based on.

    Args:
        record: what is kept of it.
        again: what it gave now.
        others: the records of the same architecture, regime and recipe from other seeds.
        here: the facts of this process.
    """
    pairs = pair_rows(record, again.record)
    differ = [(block, old, new) for block, old, new in pairs if old != new]
    same_weights = again.record["weights"] == record["weights"]
    said = [
        ("trained anew" if again.trained else "measured anew")
        + f", {len(pairs) - len(differ)} of {len(pairs)} measurements are the same"
    ]
    said.append(f"weights {again.record['weights'][:10]}, recorded {record['weights'][:10]}")
    if same_weights and not differ and again.record["history"] == record["history"]:
        return SAME, "; ".join(said)
    if differ:
        _, old, new = max(differ, key=lambda d: abs(d[1][3] / d[1][4] - d[2][3] / d[2][4]))
        said.append(
            f"accuracy at α = {old[0]:g}, draw {old[1]} {new[3] / new[4]:.4f}, "
            f"recorded {old[3] / old[4]:.4f}"
        )
    if not again.trained and not same_weights:
        return CONTRADICTS, "; ".join([*said, "its checkpoint is not what it was measured on"])
    changed = other_arithmetic(record, again.trained, here)
    if not changed:
        return CONTRADICTS, "; ".join([*said, "the same arithmetic"])
    wrong, loss = compare_losses(record, again)
    outside, accuracies = compare_accuracies(record, again.record, others)
    said += [*loss, *accuracies, f"other arithmetic ({'; '.join(changed)})"]
    return (CONTRADICTS if wrong or outside else CONSISTENT), "; ".join(said)


def pair_rows(record: Record, found: Record) -> list[tuple[dict, list, list]]:
    """Return each measurement that two records have: settings, and the rows of both."""
    pairs = []
    for block in found["measurements"]:
        there = {records.key(row): row for row in records.rows(record, block["settings"])}
        rows = ((there.get(records.key(row)), row) for row in block["rows"])
        pairs += [(block["settings"], list(old), list(new)) for old, new in rows if old]
    return pairs


def other_arithmetic(record: Record, trained: bool, here: dict) -> list[str]:
    """Return in words what of a record was computed with other arithmetic than that of here."""
    kinds = ("training", "measuring") if trained else ("measuring",)
    facts = [s for kind in kinds for s in segments(record["provenance"].get(kind, {}))]
    return list(dict.fromkeys(text for s in facts for text in arithmetic.differences(here, s)))


def compare_losses(record: Record, again: Again) -> tuple[bool, list[str]]:
    """Return whether the first epoch's losses disagree, and both of them in words."""
    if not again.trained:
        return False, []
    new, old = again.record["history"][0], record["history"][0]
    off = abs(new / old - 1)
    text = f"first epoch's loss {new:.5f}, recorded {old:.5f} ({100 * off:.3f}% off, "
    return not off <= LOSS, [f"{text}at most {100 * LOSS:g}% is agreement)"]


def compare_accuracies(
    record: Record, found: Record, others: Iterable[Record]
) -> tuple[bool, list[str]]:
    """Return whether an accuracy is not one that other seeds let expect, and in words which."""
    others, outside, tested = list(others), [], 0
    pairs = pair_rows(record, found)
    groups = {(repr(settings), old[0]): settings for settings, old, _ in pairs}
    for (name, strength), settings in groups.items():
        mine = mean_accuracy(found, settings, strength)
        values = [mean_accuracy(other, settings, strength) for other in others]
        values = [value for value in values if value is not None]
        total = next(old[4] for s, old, _ in pairs if (repr(s), old[0]) == (name, strength))
        interval = prediction_interval(values, total, 1 - (1 - LEVEL) / len(groups))
        if interval is None or mine is None:
            continue
        tested += 1
        low, high = interval
        if not low <= mine <= high:
            of = settings.get("noise", "α")
            outside.append(f"{mine:.4f} at {of} = {strength:g} is not in [{low:.4f}, {high:.4f}]")
    if not tested:
        return False, ["too few other seeds to say which accuracies they let expect"]
    inside = f"{tested - len(outside)} of {tested} mean accuracies are in the "
    text = f"{inside}{100 * LEVEL:g}% prediction intervals of {len(others)} other seeds"
    return bool(outside), [text, *outside[:3]]


def mean_accuracy(record: Record, settings: dict, strength: float) -> float | None:
    """Return the mean accuracy of a record at one strength; None if it has none."""
    rows = [row for row in records.rows(record, settings) if row[0] == strength]
    return sum(row[3] / row[4] for row in rows) / len(rows) if rows else None
