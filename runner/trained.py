"""The trained model of a run: from disk, or by training it, on from where a resume file left it."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import data
from config import Run
from runner.events import Kind
from runner.segments import go_on, say_change
from store import checkpoints, records
from store.files import Damaged, Foreign, set_aside
from store.folders import Folders
from train import initial_model, teacher_of, train

Tell = Callable[..., None]
Stop = Callable[[], bool]


def checked(load: Callable, path: Path, *args, tell: Tell):
    """Return `load(path, *args)`, or None where there is no good file.

    A damaged file is set aside as `.corrupt`; a foreign one stops the run, because going on would
    overwrite it.
    """
    try:
        return load(path, *args)
    except FileNotFoundError:
        return None
    except Damaged as error:
        tell(Kind.NOTE, text=f"{error}; set aside as {set_aside(path).name}")
        return None
    except Foreign as error:
        raise Foreign(f"{error}; move it away to go on") from None


def without_weights(run: Run, folders: Folders) -> str:
    """Return what to do about a record whose weights are not there."""
    return (
        f"{folders.record(run)}: the weights that it was measured on are not there; bring "
        f"{checkpoints.final_path(folders.checkpoints, run)}, or move the record away to train anew"
    )


def trained_model(
    run: Run,
    dataset: data.Dataset,
    folders: Folders,
    device: torch.device,
    provenance: dict,
    tell: Tell = lambda kind, **facts: None,
    stop: Stop = lambda: False,
    anew: bool = True,
) -> tuple[nn.Module, dict]:
    """Return the trained model of `run` and its checkpoint, from disk or by training it.

    Raises:
        records.Conflict: if it is not on disk, and may not be trained `anew`, since a record holds
            measurements of it: other weights would be in vain.
        train.Stopped, train.Diverged, files.Foreign, OSError.
    """
    final = checkpoints.final_path(folders.checkpoints, run)
    resume = checkpoints.resume_path(folders.checkpoints, run)
    content = checked(checkpoints.load, final, run, tell=tell)
    if content is None and not anew:
        raise records.Conflict(without_weights(run, folders))
    if content is None:
        teacher, realised = teach(run, dataset, folders, device, provenance, tell, stop)
        state = checked(checkpoints.load, resume, run, tell=tell)
        seconds = list(state["provenance"]["epoch_seconds"]) if state else []
        parts: dict = {}
        started = time.monotonic()
        if state:
            started -= state["provenance"]["unfinished_seconds"]
            step = state["training"]["step"]
            tell(Kind.NOTE, text=f"going on after epoch {state['epoch']}, step {step} of the next")
            if changed := say_change(state["provenance"], provenance):
                tell(Kind.NOTE, text=f"training goes on {changed}")
            parts = go_on(state["provenance"], provenance, [state["epoch"], step])

        def save(state: dict) -> None:
            nonlocal started
            unfinished = round(time.monotonic() - started, 3)
            finished_epoch = state["training"]["step"] == 0
            if finished_epoch:
                seconds.append(unfinished)
                started, unfinished = time.monotonic(), 0.0
            realised.update(state["realised"])
            if not state["finished"]:
                times = {"epoch_seconds": list(seconds), "unfinished_seconds": unfinished, **parts}
                checkpoints.save(resume, run, {**state, "provenance": {**provenance, **times}})
            if finished_epoch:
                tell_epoch(tell, state, seconds[-1])

        model, history = train(run, dataset, device, state, save, stop, teacher)
        # Another process may have finished the same run meanwhile: its weights stand.
        facts = {**provenance, "epoch_seconds": seconds, **parts}
        mine = checkpoints.finished(model, history, facts) | {"realised": realised}
        while (content := checked(checkpoints.load, final, run, tell=tell)) is None:
            if checkpoints.create(final, run, mine):
                content = mine
                break
    resume.unlink(missing_ok=True)
    model = initial_model(run)
    model.load_state_dict(content["model"])
    return model.to(device).eval(), content


def teach(run: Run, dataset, folders, device, provenance, tell: Tell, stop: Stop):
    """Return the trained model that teaches a run, from disk or by training it (None if none does),
    and what its own training cost, for the record.

    It is the clean run of the same seed, to the bit, and stays for that.
    """
    taught_by = teacher_of(run)
    if taught_by is None:
        return None, {}

    def quiet(kind: str, **facts) -> None:  # its epochs are not those of the run
        if kind == Kind.NOTE:
            tell(kind, **facts)

    teacher, content = trained_model(taught_by, dataset, folders, device, provenance, quiet, stop)
    cost = content.get("realised", {}).get("cost")  # a checkpoint of before does not say it
    return teacher, {} if cost is None else {"teacher": cost}


def tell_epoch(tell, state: dict, seconds: float) -> None:
    """Tell of an epoch that is done, from the state at its end."""
    known = {"loss": state["history"][-1], "accuracy": state["accuracy"]}
    of = state["training"]["epochs"]
    tell(Kind.EPOCH, epoch=state["epoch"], of=of, seconds=seconds, **known)
