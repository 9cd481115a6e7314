"""Somebody's own models, measured to the end: plan, records, and what a reader is told meanwhile.

The strengths are found as in the experiment, draws are common to all regimes and strengths of one
seed, and every measurement is kept as it is made: the same command goes on where it was stopped.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from analysis.fill import fill
from analysis.needs import Block, is_complete
from config import REESTIMATED, Sweep
from machine.checks import UsageError
from noise import ParameterError, noisy_parameters
from probes.batchnorm import has_batchnorm, reestimated
from sources.own import Key, Own, inner
from store import checkpoints, records
from store.files import Damaged, set_aside
from store.own import OwnRun, Task
from store.plan import Plan, load_plan, save_plan
from store.records import Record

SAVE_EVERY = 2.0  # seconds between writes of a record while it is being measured
Rows = Callable[..., Iterator[list]]
"""`evaluate.sweep`."""
Say = Callable[[str], None]


def make_plan(own: Own, sweep: Sweep) -> Plan:
    """Return what is asked for of every model, which names each by the digest of its weights.

    Raises:
        UsageError: a model that cannot be made, or of which it is not clear what carries noise.
    """
    weights = []
    for regime, seed in own.models:
        model = inner(own.model((regime, seed)))
        check_parameters(model, own)
        weights.append(f"{weights_of(model)} {seed} {regime}")
    own.task = replace(own.task, weights=tuple(weights))
    digests = [word.split(" ", 1)[0] for word in weights]
    for n, word in enumerate(weights):
        if digests.index(digests[n]) < n:
            first = weights[digests.index(digests[n])].split(" ", 2)
            _, seed, regime = word.split(" ", 2)
            own.notes.append(
                f"{regime} seed {seed} has the very weights of {first[2]} seed {first[1]}"
            )
    return whole_plan(own.name, list(own.models), own.task, sweep)


def whole_plan(name: str, keys: list[Key], task: Task, sweep: Sweep) -> Plan:
    """Return the plan of some models and no others: not every regime has every seed."""
    plans = [Plan((name,), (regime,), (seed,), task, sweep) for regime, seed in keys]
    return functools.reduce(lambda whole, plan: plan.joined(whole), plans)


def weights_of(model: nn.Module) -> str:
    """Return the digest of a model's weights and buffers."""
    return checkpoints.content_digest(dict(model.state_dict()))


def check_parameters(model: nn.Module, own: Own) -> None:
    """Check that every parameter is known to carry noise or not to.

    Raises:
        UsageError: with the lines to write where one is not.
    """
    try:
        if noisy_parameters(model, own.task.noisy, own.task.clean):
            return
        raise ParameterError("nothing in this model carries noise: NOISY = ['PATTERN'] says what")
    except ParameterError as error:
        if not error.unknown:
            raise UsageError(f"--model: {own.task.dataset}: {error}") from None
        sizes = {name: p.dim() for name, p in model.named_parameters()}
        groups = {
            "NOISY": [name for name in error.unknown if sizes.get(name, 0) > 1],
            "CLEAN": [name for name in error.unknown if sizes.get(name, 0) < 2],
        }
        given = {"NOISY": list(own.task.noisy), "CLEAN": list(own.task.clean)}
        every = list(sizes)
        lines = [
            f"{what} = {given[what] + patterns_for(names, every)!r}"
            for what, names in groups.items()
            if names
        ]
        if own.project is None:
            raise UsageError(
                f"--model: {own.name} has parameters of unknown use; write a file with model(), "
                f"batches() and {' and '.join(lines)}"
            ) from None
        raise UsageError(
            f"--model: is noise meant for {len(error.unknown)} parameters of unknown use, such as "
            f"{error.unknown[0]}? Matrices that multiply activations carry noise (NOISY), all else "
            f"does not (CLEAN). Add to {own.task.dataset}, and move what is on the wrong side:\n"
            + "\n".join(lines)
        ) from None


def patterns_for(names: list[str], every: list[str]) -> list[str]:
    """Return name patterns for parameters, with * for the number of a layer where that matches
    none but others of them."""
    found: dict[str, None] = {}
    for name in names:
        starred = ".".join("*" if part.isdecimal() else part for part in name.split("."))
        hits = [n for n in every if fnmatchcase(n, starred)]
        found[starred if {*hits} <= {*names} else name] = None
    return list(found)


def join_earlier(plan: Plan, folder: Path, say: Say) -> Plan:
    """Return the plan with the models of earlier commands that this one does not name, where they
    were measured on the same data."""
    try:
        earlier = load_plan(folder)
    except FileNotFoundError:
        return plan
    if earlier.kind is not OwnRun:
        raise UsageError(f"--results-dir: {folder} holds the results of run_experiments.py")
    if earlier.recipe != plan.recipe:
        say(
            "What is measured on is not what it was (data, patterns, or batches that come in "
            "another order each time): all is measured anew, and earlier records stay aside"
        )
        return plan
    named = {(run.regime, run.seed) for run in plan.runs}
    for run in earlier.runs:
        if (run.regime, run.seed) not in named and earlier.sweep.settings == plan.sweep.settings:
            part = Plan(
                (run.architecture,),
                (run.regime,),
                (run.seed,),
                earlier.recipe,
                earlier.sweep_of(run),
            )
            plan = plan.joined(part)
    return plan


def measure_all(
    own: Own, plan: Plan, folder: Path, rows: Rows, provenance: dict, say: Say = print
) -> None:
    """Bring the record of every model to its end.

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
            others = [records.find(path_of(folder, other)) for other in run.others(regimes)]
            if not is_complete(read_record(folder, run, say), plan.sweep, others):
                measure_one(own, run, plan.sweep, folder, others, rows, provenance, say)
                again = True


def path_of(folder: Path, run: OwnRun) -> Path:
    """Return where the record of a model is kept."""
    return folder / "runs" / f"{run.run_id}.json"


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
    before, started = (
        record["provenance"].get("measuring", {}).get("seconds", 0.0),
        time.monotonic(),
    )
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

    saved = done = 0
    record = {**record, "traits": traits}
    try:
        for record, left in fill(record, sweep, others, rows_of):
            done += 1
            if time.monotonic() - started - saved > SAVE_EVERY:
                keep()
                saved = time.monotonic() - started
                say(f"  {name}: {done} measurements, {left} more to come as far as is known")
    finally:
        if record["measurements"]:
            keep()
    if weights_of(model) != run.identity["weights"]:
        raise UsageError(f"--model: {name}: measuring it has changed its weights or buffers")
    say(f"  {name}: {done} measurements in {time.monotonic() - started:.1f} s")


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
                f"--model: {name} is {is_now:.4f} without noise and was {was:.4f}: its code or data "
                "have changed. Move its results folder away to measure anew"
            )
