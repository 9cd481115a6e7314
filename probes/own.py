"""Somebody's own models, measured to the end: plan, records, and what a reader is told meanwhile.

The strengths are found as in the experiment, draws are common to all regimes and strengths of one
seed, and every measurement is kept as it is made: the same command goes on where it was stopped.
"""

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import nn

from analysis.fill import fill
from analysis.needs import Block, is_complete
from config import REESTIMATED, Sweep
from machine.checks import UsageError
from probes.batchnorm import has_batchnorm, reestimated
from probes.own_plan import path_of, weights_of
from sources.own import Own, inner
from store import records
from store.files import Damaged, set_aside
from store.own import OwnRun
from store.plan import Plan
from store.records import Record

NEAR = 0.1
"""Less than this part of the way from chance to no error is near chance."""
SAVE_EVERY = 2.0  # seconds between writes of a record while it is being measured
SAY_EVERY = 15.0
Rows = Callable[..., Iterator[list]]
"""`evaluate.sweep`."""
Say = Callable[[str], None]


def measure_all(
    own: Own, plan: Plan, folder: Path, rows: Rows, provenance: dict, say: Say = print
) -> None:
    """Bring the record of every model to its end; those of earlier commands stay as they are.

    Args:
        own: the models.
        plan: from `make_plan`.
        folder: where runs/ is.
        rows: `evaluate.sweep`.
        provenance: facts of the machine, kept with the records.
        say: told a line as the work proceeds.

    Raises:
        KeyboardInterrupt: what was measured until then is saved.
        UsageError: from the user's code.
    """
    regimes = plan.all_regimes
    again = True
    while again:  # the regimes of a seed go on to the later break of them
        again = False
        for run in plan.runs:
            if (run.regime, run.seed) not in own.models:
                continue  # of an earlier command: its weights are not here
            others = [records.find(path_of(folder, other)) for other in run.others(regimes)]
            if not is_complete(read_record(folder, run, say), plan.sweep, others):
                measure_one(own, run, plan.sweep, folder, others, rows, provenance, say)
                again = True


def try_measure(own: Own, plan: Plan, folder: Path) -> None:
    """Measure the first model without noise, where nothing of it is known yet: what is wrong with
    a measure is told before anything is written.

    Raises:
        UsageError: what is wrong with it.
    """
    first = plan.run_of(own.name, *next(iter(own.models)))
    if records.find(path_of(folder, first)) is not None:
        return
    outer = own.model((first.regime, first.seed))
    own.measure(outer)
    model = inner(outer)
    if own.calibration and has_batchnorm(model):
        batch = itertools.islice(own.calibration(model), 1)
        home, told = own.project.at_home(), own.project.told(" calibration()")
        with home, told, reestimated(model, batch):
            pass


def read_record(folder: Path, run: OwnRun, say: Say) -> Record | None:
    """Return the record of a model; a damaged one is set aside."""
    path = path_of(folder, run)
    try:
        return records.load(path)
    except FileNotFoundError:
        return None
    except Damaged as error:
        say(f"{error}; set aside as {set_aside(path).name}")
        return None


def measure_one(
    own: Own,
    run: OwnRun,
    sweep: Sweep,
    folder: Path,
    others: list[Record | None],
    rows: Rows,
    provenance: dict,
    say: Say,
) -> None:
    """Measure what the record of one model lacks, and keep it, whatever happens."""
    outer = own.model((run.regime, run.seed))
    model = inner(outer)
    anew = own.calibration is not None and has_batchnorm(model)
    traits = {"chance": own.task.chance, "batchnorm": anew}
    record = read_record(folder, run, say) or records.new(run, run.identity["weights"], [], {})
    name = f"{run.regime}, seed {run.seed}"
    started = time.monotonic()
    before = record["provenance"].get("measuring", {}).get("seconds", 0.0)
    check_same(own, outer, record, sweep, name)

    def rows_of(block: Block) -> Iterator[list]:
        measure = functools.partial(measure_under, own, outer, block.settings.get("batchnorm"))
        family = block.settings.get("noise", "gaussian")
        patterns = {"noisy": own.task.noisy, "clean": own.task.clean}
        return rows(model, measure, block.points, sweep.noise_seed, run.seed, family, **patterns)

    def keep() -> None:
        seconds = round(before + time.monotonic() - started, 2)
        facts = {"measuring": {**provenance, "seconds": seconds}}
        records.save(path_of(folder, run), {**record, "traits": traits, "provenance": facts})

    done, saved, said = 0, started, started
    record = {**record, "traits": traits}
    try:
        for grown, left in fill(record, sweep, others, rows_of):
            record = grown
            if not done and not before:
                say_start(own, records.rows(record, sweep.settings), name, say)
            done += 1
            now = time.monotonic()
            if now - saved > SAVE_EVERY:
                keep()
                saved = now
            if now - said > SAY_EVERY:
                said = now
                say(f"  {name}: {done} measurements, {left} more to come as far as is known")
    finally:
        if record["measurements"]:
            keep()
    if weights_of(model) != run.identity["weights"]:
        raise UsageError(f"--model: {name}: measuring it has changed its weights or buffers")
    what = "measurement" if done == 1 else "measurements"
    say(f"  {name}: {done} {what} in {time.monotonic() - started:.1f} s")


def measure_under(
    own: Own, outer: nn.Module, policy: str | None, model: nn.Module
) -> tuple[int, int, float | None]:
    """Measure a model as it stands, under a BatchNorm policy."""
    if policy != REESTIMATED:
        return own.measure(outer)
    with contextlib.ExitStack() as stack:
        with own.project.at_home(), own.project.told(" calibration()"):
            stack.enter_context(reestimated(model, own.calibration(model)))
        return own.measure(outer)


def say_start(own: Own, rows: list[list], name: str, say: Say) -> None:
    """Say what a model does without noise, and warn where that is near chance."""
    start = next((row for row in rows if row[0] == 0), None)
    if start is None:
        return
    found, task = start[3] / start[4], own.task
    say(f"  {name}: {task.score or 'accuracy'} {found:.4f} without noise")
    if found < task.chance + NEAR * (1 - task.chance) and not task.score:
        say(
            f"  warning: that is near chance ({task.chance:.4g}): are the weights loaded, and are "
            "the data those that the model was trained for (classes in the same order, size, mean)?"
        )
    if task.score and found <= task.chance:
        say(f"  warning: without noise it is not above CHANCE ({task.chance:g}): say CHANCE")


def check_same(own: Own, model: nn.Module, record: Record, sweep: Sweep, name: str) -> None:
    """Check that what is measured without noise is what a record says: what changed outside the
    file, in a module that it imports, is in no digest.

    Raises:
        UsageError: if it is another answer.
    """
    known = [row for row in records.rows(record, sweep.settings) if row[0] == 0]
    if known:
        correct, total, _ = own.measure(model)
        was, is_now = known[0][3] / known[0][4], correct / total
        if abs(was - is_now) > 1e-3 * max(1.0, abs(was)):
            raise UsageError(
                f"--model: {name} is {is_now:.4f} without noise and was {was:.4f}: its code or "
                "data have changed. Move its results folder away to measure anew"
            )
