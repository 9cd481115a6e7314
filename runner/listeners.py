"""Progress of many runs: one bar with time left on a terminal, one flushed line each elsewhere."""

import contextlib
import functools
import math
import sys
import time
from pathlib import Path

from tqdm import tqdm

from config import Run, Sweep
from machine.checks import number_of
from runner.events import Kind
from store import records
from store.folders import Folders
from store.records import Row

TRAINING = 0.6  # share of a run's cost; the rest is measuring


class Progress:
    """A callback for `pool.run_jobs`, and a context that ends the bar.

    Args:
        costs: the runs to come and the expected cost of each, in any unit.
        terminal: whether to show a bar; by default, where standard error is a terminal.
        later: the expected cost of what comes when these are done, which the time left counts.
    """

    def __init__(self, costs: dict[Run, float], terminal: bool | None = None, later: float = 0.0):
        self.costs = costs
        self.total = sum(costs.values()) + later
        self.shares = dict.fromkeys(costs, 0.0)  # done of each run, 0 to 1
        self.covered = 0.0  # cost of what is done
        self.earned = 0.0  # cost of what was done since `start`, when the first work began
        self.start = 0.0
        self.began: dict[Run, float] = {}
        self.postponed: set[Run] = set()
        self.accuracy: dict[Run, float] = {}  # without noise, of those that were measured
        self.finished = 0
        terminal = sys.stderr.isatty() if terminal is None else terminal
        self.bar = None
        if terminal and costs:
            layout = "{percentage:3.0f}%|{bar}| {elapsed} so far{postfix}"
            self.bar = tqdm(total=self.total, bar_format=layout)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, run: Run, kind: str, facts: dict) -> None:
        """Take note of what happened to a run, which is of an `events.Kind`."""
        match kind:
            case Kind.STARTED:
                self.began[run] = time.monotonic()
            case Kind.EPOCH:
                epoch, of, seconds = facts["epoch"], facts["of"], facts["seconds"]
                self.advance(run, TRAINING * (epoch - 1) / of, TRAINING * epoch / of, seconds)
                known = f"loss {facts['loss']:.4f}, accuracy {facts['accuracy']:.4f}"
                text = f"epoch {epoch}/{of}, {known}, {seconds:.1f} s"
                left = "" if self.bar is not None else self.time_left()  # the bar shows it
                self.say(run, text + (left and f", {left}"))
            case Kind.POINT:
                done, step = facts["done"], (1 - TRAINING) / facts["of"]
                if "accuracy" in facts:
                    self.accuracy[run] = facts["accuracy"]
                self.advance(run, TRAINING + (done - 1) * step, TRAINING + done * step)
            case Kind.NOTE:
                self.say(run, facts["text"])
            case Kind.LATER if run not in self.postponed:
                self.postponed.add(run)
                self.say(run, facts["reason"])
            case Kind.DONE | Kind.FAILED:
                self.finished += 1
                self.advance(run, 1.0, 1.0)
                seconds = time.monotonic() - self.began[run]
                word = "done" if kind == Kind.DONE else f"FAILED ({facts['reason']})"
                runs = number_of(len(self.costs), "run")
                if run in self.accuracy:
                    word += f", accuracy {self.accuracy[run]:.4f}"
                self.say(run, f"{word} after {seconds:.0f} s; {self.finished} of {runs}")

    def advance(self, run: Run, begin: float, end: float, seconds: float = 0.0) -> None:
        """Note that a run came from one share to another just now; what is before is done, too."""
        if not self.earned:
            self.start = time.monotonic() - seconds  # workers take a while to start
        before = self.shares[run]
        self.shares[run] = max(before, end)
        self.earned += max(0.0, end - max(before, begin)) * self.costs[run]
        self.covered += (self.shares[run] - before) * self.costs[run]
        self.covered = min(self.covered, self.total)  # rounding may add up to slightly more
        if self.bar is not None:
            self.bar.n = self.covered
            self.bar.set_postfix_str(self.time_left(), refresh=False)
            self.bar.update(0)

    def time_left(self) -> str:
        """Return in words when all runs will be done; nothing before the first work is."""
        if not self.earned:
            return ""
        pace = (time.monotonic() - self.start) / self.earned
        return f"about {math.ceil((self.total - self.covered) * pace / 60)} min left"

    def say(self, run: Run, text: str) -> None:
        """Print one line about a run."""
        line = f"{time.strftime('%H:%M:%S')} {run.run_id}: {text}"
        if self.bar is not None:
            self.bar.write(line)
        else:
            print(line, flush=True)


def track(folders: Folders, sweep: Sweep, run: Run, kind: str, facts: dict) -> None:
    """Take note of what happened to a run, for TensorBoard.

    Writes training loss and accuracy after each epoch and, when a run is done, its accuracy at each
    α: a fraction, over all +ε draws. Where they cannot be written (a full disk) the runs go on.
    """
    with contextlib.suppress(OSError):
        writer = _writer(folders.results / "tensorboard" / run.run_id)
        if kind == Kind.EPOCH:
            writer.add_scalar("training loss", facts["loss"], facts["epoch"])
            writer.add_scalar("training accuracy", facts["accuracy"], facts["epoch"])
            writer.flush()
        elif kind == Kind.DONE:
            found = records.rows(records.load(folders.record(run)), sweep.settings)
            rows = [row for row in (Row(*values) for values in found) if row.sign > 0]
            for alpha in sorted({row.alpha for row in rows}):
                mine = [row for row in rows if row.alpha == alpha]
                accuracy = sum(row.correct for row in mine) / sum(row.total for row in mine)
                writer.add_scalar(f"accuracy/alpha {alpha:g}", accuracy, run.recipe.epochs)
            writer.close()


@functools.cache
def _writer(folder: Path):
    from torch.utils.tensorboard import SummaryWriter  # imported only here: it is optional

    return SummaryWriter(folder)
