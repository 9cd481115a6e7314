"""Progress of many runs: one bar with time left on a terminal, one flushed line each elsewhere."""

import contextlib
import functools
import sys
import time
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from config import Run, Sweep
from store import records
from store.folders import Folders


class Lenient:
    """A stream to print to; a full disk or a closed pipe behind it stops no work."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        with contextlib.suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written if that is possible."""
        with contextlib.suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


class Progress:
    """A callback for `pool.run_jobs`, and a context that ends the bar.

    Args:
        costs: the runs to come and the expected cost of each, in any unit.
    """

    def __init__(self, costs: dict[Run, float], terminal: bool | None = None):
        self.costs = costs
        self.done: dict[Run, float] = dict.fromkeys(costs, 0.0)  # share done, 0 to 1
        self.began: dict[Run, float] = {}
        self.postponed: set[Run] = set()
        self.finished = 0
        terminal = sys.stderr.isatty() if terminal is None else terminal
        self.bar = None
        if terminal and costs:
            layout = "{percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left{postfix}"
            self.bar = tqdm(total=sum(costs.values()), bar_format=layout, smoothing=0.05)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, run: Run, kind: str, facts: dict) -> None:
        """Take note of an event of `execute.execute` or `pool.run_jobs`."""
        if kind == "started":
            self.began[run] = time.monotonic()
        elif kind == "epoch":
            epoch, of = facts["epoch"], run.recipe.epochs
            self.say(run, f"epoch {epoch}/{of}, loss {facts['loss']:.4f}, {facts['seconds']:.1f} s")
            self.advance(run, 0.6 * epoch / of)
        elif kind == "point":
            self.advance(run, 0.6 + 0.4 * facts["done"] / facts["of"])
        elif kind == "note":
            self.say(run, facts["text"])
        elif kind == "later":
            if run not in self.postponed:
                self.postponed.add(run)
                self.say(run, facts["reason"])
        elif kind in ("done", "failed"):
            self.finished += 1
            self.advance(run, 1.0)
            seconds = time.monotonic() - self.began[run]
            word = "done" if kind == "done" else f"FAILED ({facts['reason']})"
            self.say(
                run, f"{word} after {seconds:.0f} s; {self.finished} of {len(self.costs)} runs"
            )

    def advance(self, run: Run, share: float) -> None:
        """Note that `share` of a run is done."""
        step, self.done[run] = share - self.done[run], max(share, self.done[run])
        if self.bar is not None:
            self.bar.update(max(0.0, step) * self.costs[run])

    def say(self, run: Run, text: str) -> None:
        """Print one line about a run."""
        line = f"{time.strftime('%H:%M:%S')} {run.run_id}: {text}"
        if self.bar is not None:
            self.bar.write(line)
        else:
            print(line, flush=True)


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
