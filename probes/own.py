"""Somebody's own models, measured to the end: plan, records, and what a reader is told meanwhile.

The strengths are found as in the experiment, draws are common to all regimes and strengths of one
seed, and every measurement is kept as it is made: the same command goes on where it was stopped.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from analysis.fill import fill
from analysis.needs import Block, is_complete
from config import REESTIMATED, Sweep
from machine import offers
from machine.checks import UsageError, choose_device, distinct, positive, within
from noise import ParameterError, noisy_parameters
from noises.words import read_noise
from probes.batchnorm import has_batchnorm, reestimated
from sources.library import SHELVES, Find, read_library
from sources.own import Key, Own, inner, read_file
from store import checkpoints, records
from store.files import Damaged, set_aside
from store.own import OwnRun, Task
from store.plan import Plan, load_plan
from store.records import Record


@dataclass(frozen=True)
class Options:
    """Your own models."""

    model: str = ""
    """A file of yours, mine.py (docs/model.md says what stands in it); or torchvision:NAME or
    timm:NAME, a library's image classifier."""
    weights: Path | None = None
    """State dict of a library's model; None = the library's own weights."""
    data: str = ""
    """Test images of a library's model: folder:PATH with a folder per class, or a dataset's name."""
    size: int = 0
    """Side of the images in pixels; 0 = as the library has it."""
    mean: tuple[float, ...] = ()
    """Mean of the pixels in [0, 1], one or by channel; None = as the library has it."""
    std: tuple[float, ...] = ()
    """Their standard deviation."""
    alphas: tuple[float, ...] = ()
    """Noise strengths α to measure and no others, relative to each weight tensor's standard
    deviation; 0 is among them. None = 0 0.01 0.02 0.05 0.1 0.2, and on until the break is found."""
    noise: tuple[str, ...] = ()
    """Noise families beside the Gaussian one: a name, or a name with its strengths."""
    device: str = ""
    """cpu, cuda, cuda:N or auto; "" = where your file puts its models, auto for a library's."""
    threads: int = 0
    """Threads of your own models; 0 = all cores."""

    def check(self) -> None:
        """Check what can be seen before work starts.

        Raises:
            UsageError: with one line that names the option and what it takes.
        """
        for f in fields(self):
            if f.name != "model" and not self.model and getattr(self, f.name) != f.default:
                raise UsageError(f"--{f.name}: is for --model")
        if not self.model:
            return
        if self.alphas:
            distinct("--alphas", self.alphas)
            for alpha in self.alphas:
                positive("--alphas", alpha, zero=True)
            if 0 not in self.alphas:
                raise UsageError("--alphas: takes noise strengths with 0 among them, as 0 0.1 0.5")
        read_noise(self.noise)
        within("--threads", self.threads, 0, offers.cores(), "0 = all of this machine's cores")
        if self.device:
            choose_device(self.device)
        if self.library:
            if not self.data:
                raise UsageError("--data: takes folder:PATH or a dataset's name, with --model NAME")
            return
        for name in ("weights", "data", "size", "mean", "std"):
            if getattr(self, name):
                raise UsageError(f"--{name}: is for --model torchvision:NAME; {self.model} says it")

    @property
    def library(self) -> bool:
        """Whether a library's model is asked for."""
        return self.model.partition(":")[0] in SHELVES and ":" in self.model

    def sweep(self, draws: int, test_size: int) -> Sweep:
        """Return what to measure."""
        alphas = tuple(sorted(float(a) for a in self.alphas))
        return Sweep(alphas, draws, test_size, noise=read_noise(self.noise))


def read(asked: Options, find: Find, test_size: int) -> Own:
    """Return the models that are asked for.

    Raises:
        UsageError: what is wrong with them, in a line.
    """
    if not asked.library:
        return read_file(Path(asked.model), test_size, asked.device)
    device = choose_device(asked.device or "auto")
    look = (asked.size, asked.mean, asked.std)
    return read_library(asked.model, asked.weights, asked.data, find, *look, test_size, device)


def threads_for(own: Own, asked: int) -> int:
    """Return how many threads to compute with, by what there is to compute alone: the same number
    when the command goes on."""
    patterns = own.task.noisy, own.task.clean
    model = inner(own.model(next(iter(own.models))))
    weights = sum(p.numel() for p in noisy_parameters(model, *patterns).values())
    return asked or (1 if weights < SMALL else offers.cores())


def describe(own: Own) -> str:
    """Return in words what will be measured."""
    seeds: dict[str, list[int]] = {}
    for regime, seed in own.models:
        seeds.setdefault(regime, []).append(seed)
    listed = "; ".join(f"{name} (seed {' '.join(map(str, s))})" for name, s in seeds.items())
    task = own.task
    what = f"{task.score or 'accuracy'}, chance {task.chance:g}"
    examples = f"{own.examples:,} test examples" if own.examples else "measured by its own function"
    return "\n".join(
        [f"{own.name}: {listed}", f"  {examples}; {what}", *(f"  {n}" for n in own.notes)]
    )


NEAR = 0.1
"""Less than this part of the way from chance to no error is near chance."""
SAVE_EVERY = 2.0  # seconds between writes of a record while it is being measured
SAY_EVERY = 15.0
SMALL = 1_000_000
"""Noisy weights below which a second thread costs more than it gives."""
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
    if has_batchnorm(model) and own.calibration is None:
        how = "; calibration() in the file would take them anew as well" if own.project else ""
        own.notes.append(
            "; ".join(["BatchNorm statistics are frozen only", *([how] if how else [])])
        )
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


def join_earlier(plan: Plan, folder: Path, say: Say = print) -> Plan:
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
    started = time.monotonic()
    before = record["provenance"].get("measuring", {}).get("seconds", 0.0)
    check_same(own, outer, record, sweep, name)
    if not record["measurements"]:
        say_start(own, outer, name, say)

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


def say_start(own: Own, model: nn.Module, name: str, say: Say) -> None:
    """Say what a model does without noise, and warn where that is near chance."""
    correct, total, _ = own.measure(model)
    found, task = correct / total, own.task
    say(f"  {name}: {task.score or 'accuracy'} {found:.4f} without noise")
    if found < task.chance + NEAR * (1 - task.chance) and not task.score:
        say(
            f"  warning: that is near chance ({task.chance:g}): are the weights loaded, and are the "
            "data those that the model was trained for (classes in the same order, size, mean)?"
        )


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
