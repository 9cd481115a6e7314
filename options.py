"""The command line of `run_experiments.py`: its options, and what each of them takes."""

import difflib
import errno
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

import data
import machine
from config import REGIMES, Recipe, Sweep
from models import ARCHITECTURES, DEFAULT_ARCHITECTURES
from plan import Plan

NAME_MAX = 255  # bytes of a file's name, on every common file system
LARGEST = 1e30  # of α and rates: its products stay within float32
MOST_SHARDS = 100_000  # more parts than any cluster has cores for


class UsageError(ValueError):
    """Wrong input that can be seen before work starts; the message names the option."""


@dataclass(frozen=True)
class Options:
    """Train architectures with and without weight noise, then measure how accuracy falls as
    Gaussian noise of growing strength is added to the trained weights."""

    architectures: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[ARCH ...]")
    ] = ()
    """Architectures to run, such as `mlp cnn`; none means the default four."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    """What shapes the trained weights."""
    sweep: tyro.conf.OmitArgPrefixes[Sweep] = field(default_factory=Sweep)
    """What is measured on them."""
    regimes: tuple[str, ...] = tuple(REGIMES)
    """Training regimes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One model per architecture, regime and seed."""
    device: str = "auto"
    """Where to compute: cpu, cuda, cuda:1, or auto for a GPU where there is one."""
    workers: int | None = None
    """Runs side by side; None = what the machine's cores and memory carry well."""
    threads: int = 1
    """CPU threads of each run. The last digits of results depend on it, not on the workers."""
    shard: str = ""
    """I/N: do only the I-th of N parts of the plan, balanced by expected cost; for job arrays."""
    status: bool = False
    """Only print what is finished, in progress, failed and missing, and the time left."""
    tensorboard: bool = False
    """Also write each run's scalars for TensorBoard, under RESULTS_DIR/tensorboard."""
    data_dir: Path = Path("data")
    """Folder of the dataset files; filled by a download where they are not there."""
    checkpoint_dir: Path = Path("checkpoints")
    """Folder of the trained weights."""
    results_dir: Path = Path("results")
    """Folder of the records, tables and figures."""


def read(arguments: list[str] | None = None) -> Options:
    """Read the command line; wrong words end the program with status 2, as `check` does."""
    return tyro.cli(Options, args=arguments)


def known(option: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Check that names are in a registry and not repeated, suggesting the nearest one."""
    names, allowed = list(names), list(allowed)
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{option}: {shown(name)} is none of {', '.join(allowed)}{hint}")
    distinct(option, names)


def shown(value: str | float | Path) -> str:
    """Return a value as messages show it: on one line, and not too long."""
    text = repr(value) if isinstance(value, (int, float)) else repr(str(value))
    return text if len(text) <= 60 else f"{text[:40]} ... {text[-15:]}"


def distinct(option: str, values: Iterable) -> None:
    """Check that there are values, each once."""
    values = list(values)
    if not values:
        raise UsageError(f"{option}: takes at least one value, got none")
    twice = sorted({v for v in values if values.count(v) > 1})
    if twice:
        raise UsageError(f"{option}: takes each value once, got {shown(twice[0])} twice")


def within(option: str, value: int, low: int, high: int, meaning: str = "") -> None:
    """Check that a whole number lies between two bounds, both included."""
    if not low <= value <= high:
        note = f" ({meaning})" if meaning else ""
        raise UsageError(
            f"{option}: takes a whole number from {low} to {high}{note}, got {shown(value)}"
        )


def positive(option: str, value: float, zero: bool = False) -> None:
    """Check that a number is above zero (or zero, where that has a meaning) and not absurd."""
    if not (value > 0 or (zero and value == 0)) or value > LARGEST:
        bound = "≥ 0" if zero else "> 0"
        raise UsageError(
            f"{option}: takes a finite number {bound} (at most {LARGEST:g}), got {value:g}"
        )


def check(options: Options) -> None:
    """Check every option before any work.

    Raises:
        UsageError: with one line that names the option and what it takes.
    """
    recipe, sweep = options.recipe, options.sweep
    known("ARCH", options.architectures or DEFAULT_ARCHITECTURES, ARCHITECTURES)
    known("--regimes", options.regimes, REGIMES)
    known("--dataset", [recipe.dataset], data.DATASETS)
    distinct("--seeds", options.seeds)
    for seed in options.seeds:
        within("--seeds", seed, 0, 2**31 - 1)
    spec = data.DATASETS[recipe.dataset]
    within("--validation-size", recipe.validation_size, 0, spec.train_count - 1, "0 = none")
    train = spec.train_count - recipe.validation_size
    test = recipe.validation_size or spec.test_count
    within("--train-size", recipe.train_size, 0, train, "0 = all")
    within("--test-size", sweep.test_size, 0, test, "0 = all")
    within("--epochs", recipe.epochs, 1, 100_000)
    within("--batch-size", recipe.batch_size, 1, train)
    positive("--peak-lr", recipe.peak_lr)
    positive("--weight-decay", recipe.weight_decay, zero=True)
    positive("--alpha-train", recipe.alpha_train, zero=True)
    distinct("--alphas", sweep.alphas)
    for alpha in sweep.alphas:
        positive("--alphas", alpha, zero=True)
    if 0 not in sweep.alphas:
        raise UsageError("--alphas: takes noise strengths with 0 among them, such as 0 0.1 0.5")
    within("--draws", sweep.draws, 1, 1_000_000)
    within("--noise-seed", sweep.noise_seed, 0, 2**31 - 1)
    if not 0 <= sweep.precision < 0.5:
        raise UsageError(
            "--precision: takes a fraction of 1 below 0.5, such as 0.002 (0 = fixed draws), "
            f"got {sweep.precision:g}"
        )
    fewest = sweep.first_draws if sweep.precision else 1
    within("--max-draws", sweep.max_draws, fewest, 1_000_000)
    if options.workers is not None:
        within("--workers", options.workers, 1, 1024)
    read_shard(options.shard)
    if not options.status:  # which any machine can tell, from the files alone
        check_machine(options)


def check_machine(options: Options) -> None:
    """Check what is asked of this machine: see `check`."""
    within("--threads", options.threads, 1, machine.cores(), "this machine's cores")
    choose_device(options.device)
    if options.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise UsageError("--tensorboard: needs a package: pip install tensorboard")
    check_folder("--data-dir", options.data_dir, read_only=True)
    check_folder("--checkpoint-dir", options.checkpoint_dir)
    check_folder("--results-dir", options.results_dir)
    check_folder("--results-dir", options.results_dir / "runs")


def check_folder(option: str, folder: Path, read_only: bool = False) -> None:
    """Check that a folder is there or can be made; nothing is written.

    It must be one that can be written in, but for one that is there where `read_only` will do.
    """
    try:
        if any(len(os.fsencode(part)) > NAME_MAX for part in folder.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        spot = folder
        while not present(spot):
            spot = spot.parent
        is_folder = spot.is_dir()
        usable = os.access(spot, os.W_OK | os.X_OK) or (read_only and spot == folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UsageError(f"{option}: takes a folder; {shown(folder)}: {reason}") from None
    if not (is_folder and usable):
        reason = "cannot be written" if is_folder else "is not a folder"
        raise UsageError(f"{option}: takes a folder that can be written; {shown(spot)} {reason}")


def present(path: Path) -> bool:
    """Return whether there is anything at `path`, be it a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def choose_device(name: str) -> torch.device:
    """Return the device that a name stands for.

    Raises:
        UsageError: if there is none.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if match := re.fullmatch(r"cuda(?::([0-9]{1,4}))?", name):
        index = int(match[1] or 0)
        if index < count:
            return torch.device("cuda", index)
        raise UsageError(f"--device: {name} is not there; this machine has {count} GPUs")
    raise UsageError(f"--device: takes cpu, cuda, cuda:N or auto, got {shown(name)}")


def read_shard(text: str) -> tuple[int, int]:
    """Return I and N of "I/N"; (1, 1), which is everything, for "".

    Raises:
        UsageError: if that is not what the text is.
    """
    first, slash, last = (text or "1/1").partition("/")
    numbers = first.isascii() and first.isdecimal() and last.isascii() and last.isdecimal()
    if not (slash and numbers and len(text) < 20 and 1 <= int(first) <= int(last) <= MOST_SHARDS):
        rule = f"I/N with 1 ≤ I ≤ N ≤ {MOST_SHARDS}, such as 2/8"
        raise UsageError(f"--shard: takes {rule}, got {shown(text)}")
    return int(first), int(last)


def asks_for_nothing(options: Options) -> bool:
    """Return whether the command line names folders, but neither runs nor measurements."""
    return make_plan(options) == make_plan(Options())


def make_plan(options: Options) -> Plan:
    """Return the plan that checked options ask for; sizes of the whole dataset become 0."""
    recipe, sweep = options.recipe, options.sweep
    spec = data.DATASETS[recipe.dataset]
    if recipe.train_size == spec.train_count - recipe.validation_size:
        recipe = replace(recipe, train_size=0)
    if sweep.test_size == (recipe.validation_size or spec.test_count):
        sweep = replace(sweep, test_size=0)
    sweep = replace(sweep, alphas=tuple(sorted(float(a) for a in sweep.alphas)))
    return Plan(
        architectures=options.architectures or DEFAULT_ARCHITECTURES,
        regimes=options.regimes,
        seeds=options.seeds,
        recipe=recipe,
        sweep=sweep,
    )


def fail(error: Exception) -> None:
    """End the program with status 2 and one line."""
    print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
    raise SystemExit(2)
