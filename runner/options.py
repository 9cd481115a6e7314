"""The command line of `run_experiments.py`: its options, and what each of them takes."""

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import nn

import data
import noises
from config import DEFAULT_REGIMES, NOT_NEGATIVE, REGIMES, Recipe, Run, Sweep
from machine import offers, words
from machine.checks import (
    UsageError,
    check_folder,
    choose_device,
    distinct,
    fail,
    known,
    positive,
    shown,
    within,
)
from methods import METHODS
from models import ARCHITECTURES, DEFAULT_ARCHITECTURES, SEED, build_for
from noises import FAMILIES
from noises.words import read_noise
from sources.folder import PREFIX
from store.plan import Plan
from train import make_method

MOST_SHARDS = 100_000  # more parts than any cluster has cores for


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train architectures with and without weight noise, then measure how accuracy falls as
    Gaussian noise of growing strength is added to the trained weights."""

    architectures: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[ARCH ...]")
    ] = ()
    """Architectures to run, such as `mlp cnn`; none means the default four."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    """What shapes the trained weights."""
    sweep: tyro.conf.OmitArgPrefixes[Sweep]
    """What is measured on them."""
    regimes: tuple[str, ...] = DEFAULT_REGIMES
    """Training regimes, listed in docs/methods.md; `NAME:PARAMETER=VALUE` is one with another value
    of a parameter, such as `sam:rho=0.1`."""
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
    forget: bool = False
    """Only take out of the plan what is named beside it: runs, such as `resnet18 --seeds 7`, or of
    them the measurements, such as `--draws 1000000`. Nothing is trained, and records stay."""
    verify: int = 0
    """Only train or measure so many finished runs again, chosen at random, and compare; status 1 if
    one contradicts its record. Without checkpoints they are trained anew. Nothing is written."""
    tensorboard: bool = False
    """Also write each run's scalars for TensorBoard, under RESULTS_DIR/tensorboard."""
    data_dir: Path = Path("data")
    """Folder of the dataset files; filled by a download where they are not there."""
    checkpoint_dir: Path = Path("checkpoints")
    """Folder of the trained weights."""
    results_dir: Path = Path("results")
    """Folder of the records, tables and figures."""


def read(arguments: list[str] | None = None) -> Options:
    """Read the command line; wrong words end the program with status 2: see `words.read`."""
    given = {word.partition("=")[0] for word in (sys.argv[1:] if arguments is None else arguments)}
    options = words.read(Options, arguments)
    family = options.recipe.train_noise
    if options.recipe.budget and "--epochs" in given:
        fail(UsageError("--epochs: --budget says how long all train; give one of the two"))
    if family != "gaussian" and "--alpha-train" not in given:
        fail(UsageError(f"--alpha-train: {family} has no usual strength to train with; give one"))
    return options


def check(options: Options) -> None:
    """Check every option before any work.

    Raises:
        UsageError: with one line that names the option and what it takes.
    """
    recipe, sweep = options.recipe, options.sweep
    check_bounds(recipe)
    check_bounds(sweep)
    known("ARCH", options.architectures or DEFAULT_ARCHITECTURES, ARCHITECTURES)
    for name in options.regimes:
        check_change(name)
    known("--regimes", options.regimes, [*REGIMES, *(n for n in options.regimes if n in REGIMES)])
    check_train_noise(recipe, options.regimes)
    for name in options.regimes:
        check_method(name, recipe)
    dataset = read_dataset(recipe.dataset, options.data_dir)
    check_shape(options.architectures or DEFAULT_ARCHITECTURES, dataset)
    distinct("--seeds", options.seeds)
    for seed in options.seeds:
        within("--seeds", seed, 0, 2**31 - 1)
    spec = data.DATASETS[dataset]
    within("--validation-size", recipe.validation_size, 0, spec.train_count - 1, "0 = none")
    train = spec.train_count - recipe.validation_size
    test = recipe.validation_size or spec.test_count
    within("--train-size", recipe.train_size, 0, train, "0 = all")
    within("--test-size", sweep.test_size, 0, test, "0 = all")
    within("--batch-size", recipe.batch_size, 1, train)
    images = recipe.train_size or train
    check_last_batch(options.architectures or DEFAULT_ARCHITECTURES, dataset, recipe, images)
    distinct("--alphas", sweep.alphas)
    for alpha in sweep.alphas:
        positive("--alphas", alpha, zero=True)
    if 0 not in sweep.alphas:
        raise UsageError("--alphas: takes noise strengths with 0 among them, such as 0 0.1 0.5")
    read_noise(sweep.noise)
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
    within("--verify", options.verify, 0, 1_000_000)
    if not options.status:  # which any machine can tell, from the files alone
        check_machine(options)


def check_bounds(knobs: Recipe | Sweep) -> None:
    """Check every knob against the bounds that stand beside it."""
    for f in fields(knobs):
        option, value = f"--{f.name.replace('_', '-')}", getattr(knobs, f.name)
        bounds = f.metadata.get("bounds") if value is not None else None
        if isinstance(bounds, tuple):
            within(option, value, *bounds)
        elif bounds:
            positive(option, value, zero=bounds == NOT_NEGATIVE)


def check_train_noise(recipe: Recipe, regimes: Iterable[str]) -> None:
    """Check the family and strength of the training noise, and that each noisy regime takes it."""
    if not noises.exists(recipe.train_noise):  # a composition of two need not be registered
        known("--train-noise", [recipe.train_noise], FAMILIES)
    try:
        noises.find(recipe.train_noise).check(recipe.alpha_train)
    except ValueError as error:
        raise UsageError(f"--alpha-train: {recipe.train_noise} {error}") from None
    if recipe.train_noise == "gaussian":
        return
    noisy = [name for name in regimes if REGIMES[name].noise]
    others = [name for name in noisy if REGIMES[name].method != "injection"]
    if others or not noisy:
        raise UsageError(
            f"--train-noise: {recipe.train_noise} is for regimes of injection, such as noisy; "
            + (f"{others[0]} trains under gaussian" if others else "none of them is there")
        )


def check_change(name: str) -> None:
    """Check a regime with another value of a parameter, where there is a regime to change."""
    if ":" in name and name.partition(":")[0] in REGIMES:
        try:
            REGIMES[name]
        except (KeyError, ValueError) as error:
            raise UsageError(f"--regimes: {shown(name)}: {error.args[0]}") from None


def check_method(name: str, recipe: Recipe) -> None:
    """Check that the method of a regime is there and takes the regime's parameters."""
    run = Run("", name, 0, recipe)
    method = run.method["name"]
    known(f"--regimes: the method of {name}", [method], METHODS)
    if package := METHODS[method].lacks():
        raise UsageError(f"--regimes: {name} needs a package: pip install {package}")
    try:
        stream, net = torch.Generator(), nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        make_method(run, net, stream)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UsageError(f"--regimes: {name}: method {method!r}: {reason}") from None
    except Exception:  # what else it wants of a model shows on one that is to be trained
        return


def read_dataset(name: str, data_dir: Path) -> str:
    """Return the name of a dataset in `data.DATASETS`; nothing is written.

    Raises:
        UsageError: if there is no such dataset, or a folder is not one of images by class.
    """
    if not name.startswith(PREFIX):
        known("--dataset", [name], [*data.DATASETS, f"{PREFIX}PATH"])
    try:
        return data.identify(name, data_dir)
    except data.DataError as error:
        raise UsageError(f"--dataset: {error}") from None


def check_shape(architectures: Iterable[str], dataset: str) -> None:
    """Check that every architecture takes the images of a dataset."""
    spec = data.DATASETS[dataset]
    for name in architectures if spec.shape != SEED else ():
        try:
            with torch.device("meta"):  # no memory, and no time
                build_for(name, spec)
        except ValueError as error:
            raise UsageError(f"ARCH: {error} (--dataset {dataset})") from None


def check_last_batch(
    architectures: Iterable[str], dataset: str, recipe: Recipe, images: int
) -> None:
    """Check that every architecture can train on the last batch of an epoch, if it has one image:
    BatchNorm has no spread of one value."""
    if recipe.batch_size > 1 and images % recipe.batch_size != 1:
        return
    spec = data.DATASETS[dataset]
    for name in architectures:
        try:
            with torch.device("meta"):  # no memory, and no time
                build_for(name, spec).train()(torch.empty(1, *spec.shape[:3]))
        except ValueError:
            raise UsageError(
                f"--batch-size: {recipe.batch_size} of {images} training images leave a last batch "
                f"of one, on which {name}'s BatchNorm cannot train; change it or --train-size"
            ) from None


def check_machine(options: Options) -> None:
    """Check what is asked of this machine: see `check`."""
    within("--threads", options.threads, 1, offers.cores(), "this machine's cores")
    choose_device(options.device)
    if options.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise UsageError("--tensorboard: needs a package: pip install tensorboard")
    check_folder("--data-dir", options.data_dir, read_only=True)
    check_folder("--checkpoint-dir", options.checkpoint_dir)
    check_folder("--results-dir", options.results_dir)
    check_folder("--results-dir", options.results_dir / "runs")


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


def as_in(plan: Plan, options: Options) -> Plan:
    """Return what a command asks for where `plan` is that of its folder: of the knobs and axes that
    it leaves as they are by default, those of the plan."""
    asked, usual = make_plan(options), make_plan(Options(sweep=Sweep()))
    if asked != usual:
        kept = {f.name: getattr(plan, f.name) for f in fields(Plan) if f.name != "earlier"}
        named = {n: v for n, v in vars(asked).items() if n != "earlier" and v != getattr(usual, n)}
        plan = replace(asked, **{**kept, **named})
    read_dataset(plan.recipe.dataset, options.data_dir)  # a folder's is known from here on
    return plan


def make_plan(options: Options) -> Plan:
    """Return the plan that checked options ask for; sizes of the whole dataset become 0."""
    recipe, sweep = options.recipe, options.sweep
    recipe = replace(recipe, dataset=read_dataset(recipe.dataset, options.data_dir))
    spec = data.DATASETS[recipe.dataset]
    if recipe.train_size == spec.train_count - recipe.validation_size:
        recipe = replace(recipe, train_size=0)
    if sweep.test_size == (recipe.validation_size or spec.test_count):
        sweep = replace(sweep, test_size=0)
    alphas = tuple(sorted(float(a) for a in sweep.alphas))
    sweep = replace(sweep, alphas=alphas, noise=read_noise(sweep.noise))
    return Plan(
        architectures=options.architectures or DEFAULT_ARCHITECTURES,
        regimes=options.regimes,
        seeds=options.seeds,
        recipe=recipe,
        sweep=sweep,
    )
