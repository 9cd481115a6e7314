"""Optional: the scalars of each run for TensorBoard, under `results/tensorboard/<run_id>`."""

import contextlib
import functools
from pathlib import Path

import records
from config import Run, Sweep
from execute import Folders


def track(folders: Folders, sweep: Sweep, run: Run, kind: str, facts: dict) -> None:
    """Take note of an event of `execute.execute` or `pool.run_jobs`.

    Writes the training loss after each epoch and, when a run is done, its accuracy at each α: a
    fraction, over all +ε draws. Where they cannot be written (a full disk) the runs go on.
    """
    with contextlib.suppress(OSError):
        writer = _writer(folders.results / "tensorboard" / run.run_id)
        if kind == "epoch":
            writer.add_scalar("training loss", facts["loss"], facts["epoch"])
            writer.flush()
        elif kind == "done":
            rows = records.rows(records.load(folders.record(run)), sweep.settings)
            for alpha in sorted({row[0] for row in rows}):
                counts = [(row[3], row[4]) for row in rows if row[0] == alpha and row[2] > 0]
                correct, total = map(sum, zip(*counts, strict=True))
                writer.add_scalar(f"accuracy/alpha {alpha:g}", correct / total, run.recipe.epochs)
            writer.close()


@functools.cache
def _writer(folder: Path):
    from torch.utils.tensorboard import SummaryWriter  # imported only here: it is optional

    return SummaryWriter(folder)
