"""One run from start to finish: train it or load it, measure what is missing, keep both.

Whatever is there is used and nothing finished is done twice: a complete record ends the run at
once, a checkpoint spares the training, a resume file spares the epochs done.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import data
from analysis.fill import fill
from analysis.needs import is_complete
from config import Run, Sweep
from data import Dataset
from probes.batchnorm import has_batchnorm
from runner import claims
from runner.events import Kind
from runner.measuring import Keep, Measuring
from runner.segments import go_on, say_change
from runner.serving import Later, stopping
from runner.trained import Stop, Tell, checked, trained_model
from store import checkpoints, records
from store import images as answers
from store.folders import Folders
from store.records import Record
from train import Stopped

SAVE_EVERY = 2.0  # seconds between writes of a record while it is being measured


def load_dataset(run: Run, sweep: Sweep, folder: Path) -> data.Dataset:
    """Return the images that `run` trains on and is measured on.

    With a `validation_size` the test part is held-out training images and the test set is not
    used. The sizes then cut each part to its first images.
    """
    recipe = run.recipe
    dataset = data.load(recipe.dataset, folder)
    if recipe.validation_size:
        dataset = data.split_validation(dataset, recipe.validation_size)
    n, m = recipe.train_size or None, sweep.test_size or None
    return replace(
        dataset,
        train_images=dataset.train_images[:n],
        train_labels=dataset.train_labels[:n],
        test_images=dataset.test_images[:m],
        test_labels=dataset.test_labels[:m],
    )


def execute(
    run: Run,
    sweep: Sweep,
    folders: Folders,
    device: torch.device,
    provenance: dict,
    tell: Tell = lambda kind, **facts: None,
    stop: Stop = lambda: False,
    regimes: Iterable[str] = (),
) -> None:
    """Bring a run to a complete record.

    Args:
        run, sweep: what is asked for.
        folders: where its files are.
        device: where to compute.
        provenance: facts of the machine and the versions, kept with the results.
        tell: called with a kind and facts as the work proceeds: "note" (text), "epoch" (epoch,
            of, loss, accuracy, seconds), "point" and "saved" (done, of).

        stop: asked often whether to save and stop.
        regimes: those that the run is compared with: see `analysis.needs`.

    Raises:
        train.Stopped, train.Diverged, files.Foreign, records.Conflict, data.DataError, OSError.
    """
    record_path = folders.record(run)
    record = checked(records.load, record_path, tell=tell)
    others = [records.find(folders.record(other)) for other in run.others(regimes)]
    if is_complete(record, sweep, others):
        return
    dataset = load_dataset(run, sweep, folders.data)
    anew = record is None
    model, trained = trained_model(run, dataset, folders, device, provenance, tell, stop, anew)
    model.register_forward_pre_hook(lambda *_: (stop(), None)[1])  # each pass is a sign of life
    weights = checkpoints.content_digest(model.state_dict())
    measuring = {**provenance, "seconds": 0.0}
    facts = {"training": trained["provenance"], "measuring": measuring}
    traits = traits_of(model, dataset)
    if record is None:
        record = records.new(run, weights, trained["history"], facts, traits)
        if "realised" in trained:  # checkpoints of before have none
            record["realised"] = trained["realised"]
    elif record["weights"] != weights:
        checkpoint = checkpoints.final_path(folders.checkpoints, run)
        raise records.Conflict(
            f"{record_path}: measured on other weights than {checkpoint} holds; bring the "
            "checkpoint that it was measured on, or move the record away"
        )
    record = {"traits": traits, **record}  # one of before does not say them
    before = measuring_seconds(record)
    earlier = record["provenance"].get("measuring") if record["measurements"] else None
    if changed := say_change(earlier, provenance):
        tell(Kind.NOTE, text=f"measuring goes on {changed}")
    parts = go_on(earlier, provenance, sum(len(b["rows"]) for b in record["measurements"]))
    started = saved = time.monotonic()
    answered = answers.Answers(run.run_id, weights)
    steps = extend(record, model, dataset, sweep, run, others, answered.add)
    for done, (grown, left) in enumerate(steps, start=1):
        now = time.monotonic()
        stopping = stop()
        if stopping or not left or now - saved > SAVE_EVERY:
            measuring = {**provenance, "seconds": round(before + now - started, 2), **parts}
            facts = {**record["provenance"], "measuring": measuring}
            keep = answers.save if stopping or not left else answers.leave
            keep(record_path.parent, answered)
            records.save(record_path, {**grown, "provenance": facts})
            saved = now
            tell(Kind.SAVED, done=done, of=done + left)
        tell(Kind.POINT, done=done, of=done + left, **start_of(grown, sweep))
        if stopping and left:
            raise Stopped(f"after {done} of {done + left} measurements")


def traits_of(model: nn.Module, dataset: Dataset) -> dict:
    """Return what a record says of its model: see `records.TRAITS`."""
    return {"chance": 1 / dataset.classes, "batchnorm": has_batchnorm(model)}


def start_of(record: records.Record, sweep: Sweep) -> dict[str, float]:
    """Return the accuracy without noise, a fraction, under its name; nothing before it is known."""
    rows = records.rows(record, sweep.settings)
    return {"accuracy": rows[0][3] / rows[0][4]} if rows and rows[0][0] == 0 else {}


def measuring_seconds(record: records.Record) -> float:
    """Return how long the measurements of a record have taken so far."""
    return record["provenance"].get("measuring", {}).get("seconds", 0.0)


def extend(
    record: Record,
    model: nn.Module,
    dataset: Dataset,
    asked: Sweep,
    run: Run,
    others: Iterable[Record | None] = (),
    keep: Keep | None = None,
) -> Iterator[tuple[Record, int]]:
    """Measure what a sweep asks for and a record lacks, until it is complete.

    Pairs ±ε are measured on the first training images, where the Hessian is taken along the same
    draws: prediction and measurement are then of the same loss.

    Args:
        record: the run's record; it is not changed.
        model: the trained model; it is left as it was.
        dataset: what the run trains and is measured on.
        asked: the sweep.
        run: whose model it is.
        others: the records of the same architecture and seed in other regimes.
        keep: called after each measurement on test images with its settings, its row, and which
            images were answered right, (total,) booleans.

    Yields:
        The record with one more measurement, and how many more are known to be needed; 0 with the
        last one. More may turn out to be needed as the precision becomes known.
    """
    measuring = Measuring(model, dataset, run, keep)
    yield from fill(record, asked, others, measuring.rows_of, measuring.traces_of)


def work(
    run: Run,
    tell,
    sweep: Sweep,
    folders: Folders,
    device: str,
    provenance: dict,
    regimes: tuple[str, ...] = (),
) -> None:
    """Do one run in a worker, telling the parent and whoever asks for the status."""

    def tell_both(kind: str, **facts) -> None:
        tell(kind, **facts)
        if kind == Kind.EPOCH:
            note("training", epoch=facts["epoch"], of=facts["of"])
        elif kind == Kind.SAVED:
            note("measuring", **facts)

    try:
        with claims.working(folders.results, run, Stopped) as note:
            where = torch.device(device)
            execute(run, sweep, folders, where, provenance, tell_both, stopping, regimes)
    except (claims.Busy, Stopped) as error:
        raise Later(str(error)) from None
