"""Every method of training at the same budget: the commands of the bench, and how long they take.

    python -m studies.bench                      # print the commands, with minutes measured here
    python -m studies.bench --go                 # do them, one after the other; stop and go on
    python -m studies.bench --go --seeds 0 1     # a part of them: seeds, or --shard 1/2
    python report.py --results-dir results/bench/gaussian  # the tables of all parts

Fixed before the first model is trained: six seeds; the MLP with every method, the CNN with one of
each kind, the ViT with plain training, injection and the MLP's best, which is the method (of those
two left out) that stands the most Gaussian noise in the mean over all seeds. Each method has the
parameter that `studies.tuning` chose, and the same budget.

There are two results folders on the same trained models: `gaussian`, on all test images, and
`families`, under further noise on the first 2,000 of them. A folder's measurements share one number
of test images; the second finds every checkpoint of the first and trains nothing.
"""

from machine.process import steady_output  # first: it checks Python's version

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import tyro

import data
from analysis.endpoints import INJECTION
from analysis.needs import expected_points
from config import DEFAULT_REGIMES, REGIMES, Recipe, Run, Sweep
from evaluate import measure
from machine import offers
from machine.words import read as read_words
from methods import METHODS
from train import initial_model, make_method, teacher_of, train_step

SEEDS = (0, 1, 2, 3, 4, 5)
FAMILIES = ("multiplicative", "bit_errors", "pcm")
FAMILY_IMAGES = 2000
PLAIN = ("clean", INJECTION)  # at the reference's strength, which `studies.tuning` chose too
KINDS = (*PLAIN, "varied", "sam", "clipping", "randbet")
"""One of each kind: none, injection, its strength drawn anew, flatness, bounded weights, faults."""
BEST = "BEST"
"""Stands for the MLP's best where that is not known yet."""
STEPS = 8
"""Optimiser steps that are timed, after two that are not."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print the commands of the bench with an estimate of their time, or do them."""

    go: bool = False
    """Do them."""
    architectures: tuple[str, ...] = ("mlp", "cnn", "vit")
    """Some of mlp, cnn, vit, in this order: the MLP's best is needed for the ViT."""
    seeds: tuple[int, ...] = SEEDS
    """Some of the six."""
    budget: int = 4
    """Epochs of plain training that every method's passes are worth."""
    shard: str = ""
    """I/N: do only the I-th of N parts of each command."""
    train_size: int = 0
    """Train on the first this many images; 0 = all. Not the bench any more: to try it."""
    test_size: int = 0
    """Measure on the first this many test images; 0 = all, and 2,000 of further noise."""
    data_dir: Path = Path("data")
    """Folder of the dataset files."""
    checkpoint_dir: Path = Path("checkpoints/bench")
    """Folder of the trained weights."""
    results_dir: Path = Path("results/bench")
    """Folder that holds `gaussian` and `families`."""


def regimes_of(architecture: str, results: Path) -> tuple[str, ...]:
    """Return the methods that an architecture is trained with."""
    every = (*PLAIN, *(name for name in REGIMES if name not in DEFAULT_REGIMES))
    return {"mlp": every, "cnn": KINDS}.get(architecture, (*PLAIN, best_of(results)))


def best_of(results: Path) -> str:
    """Return the method, beside plain training and injection, with which the MLP stands the most
    Gaussian noise, as `ranking.csv` has it; `BEST` where that is not there yet."""
    path = results / "gaussian" / "ranking.csv"
    if not path.exists():
        return BEST
    table = pd.read_csv(path)
    mine = table[(table.architecture == "mlp") & (table.noise == "gaussian")]
    mine = mine[~mine.regime.isin(PLAIN)]
    return mine.loc[mine.tolerance.idxmax()].regime if len(mine) else BEST


def command(architecture: str, folder: str, options: Options) -> list[str]:
    """Return the command of an architecture and a folder, in words."""
    regimes = regimes_of(architecture, options.results_dir)
    size = options.test_size or (FAMILY_IMAGES if folder == "families" else 0)
    words = ["run_experiments.py", architecture, "--regimes", *regimes, "--seeds", *options.seeds]
    words += ["--budget", options.budget]
    words += ["--noise", *FAMILIES] if folder == "families" else []
    words += ["--test-size", size] if size else []
    words += ["--train-size", options.train_size] if options.train_size else []
    words += ["--shard", options.shard] if options.shard else []
    words += ["--data-dir", options.data_dir] if options.data_dir != Options().data_dir else []
    words += ["--checkpoint-dir", options.checkpoint_dir]
    return [*map(str, (*words, "--results-dir", options.results_dir / folder))]


def do(options: Options) -> int:
    """Do all commands in order; return the exit status of the first that fails, else 0."""
    for architecture in options.architectures:
        for folder in ("gaussian", "families"):
            words = command(architecture, folder, options)
            if BEST in words:
                print(
                    "vit waits: the MLP's best is known when all of its parts are done", flush=True
                )
                continue
            print(f"\npython {shlex.join(words)}", flush=True)
            if status := subprocess.run([sys.executable, *words]).returncode:
                return status
            if options.shard:  # a shard writes no tables, and the ViT's third method is in them
                where = str(options.results_dir / folder)
                subprocess.run([sys.executable, "report.py", "--results-dir", where], check=True)
    return 0


def seconds_of(run: Run, dataset: data.Dataset) -> tuple[float, float]:
    """Return the seconds of one optimiser step and of one pass over 1,000 images: CPU time of one
    thread, so that what else the machine does counts less."""
    model, stream = initial_model(run), torch.Generator().manual_seed(0)
    teacher = initial_model(run).eval() if teacher_of(run) else None
    method = make_method(run, model.train(), stream, teacher)
    optimizer = method.make_optimizer(len(dataset.train_images))
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), fused=True)
    method.progress = 0.5
    images, labels = dataset.train_images, dataset.train_labels
    order = torch.Generator().manual_seed(0)
    began = 0.0
    for n, (x, y) in enumerate(data.batches(images, labels, run.recipe.batch_size, order)):
        if n == 2:
            began = time.process_time()
        if n == 2 + STEPS:
            break
        train_step(method, optimizer, x, y)
    step = (time.process_time() - began) / STEPS
    method.close()
    model.eval()
    with torch.inference_mode():
        began = time.process_time()
        measure(model, images[:1000], labels[:1000])
    return step, time.process_time() - began


def estimate(architecture: str, options: Options, dataset: data.Dataset) -> pd.DataFrame:
    """Return a row per method: step (ms), and minutes of one core for all seeds to train, to
    measure Gaussian noise, and to measure further noise (beside it once more)."""
    out = []
    gaussian = expected_points(Sweep())
    further = gaussian * (1 + len(FAMILIES))
    images, tested = options.train_size or 60_000, options.test_size or 10_000
    for name in regimes_of(architecture, options.results_dir):
        known = "antithetic" if name == BEST else name
        recipe = Recipe(budget=options.budget)
        step, passes = seconds_of(Run(architecture, known, 0, recipe), dataset)
        cost = METHODS[REGIMES[known].method].cost
        steps = options.budget * images / recipe.batch_size / cost
        few = options.test_size or FAMILY_IMAGES
        seconds = (steps * step, gaussian * passes * tested / 1000, further * passes * few / 1000)
        minutes = [len(options.seeds) * s / 60 for s in seconds]
        out.append((architecture, name, 1000 * step, *minutes))
    names = ["architecture", "regime", "step_ms", "train", "measure", "further"]
    return pd.DataFrame(out, columns=names)


def main(options: Annotated[Options, tyro.conf.arg(name="")]) -> int:
    """Print the commands and the estimate, or do them; return the exit status."""
    if unknown := {*options.architectures} - {"mlp", "cnn", "vit"}:
        print(f"studies.bench: architectures: {min(unknown)!r} is none of mlp cnn vit")
        return 2
    wanted = (
        {regime.method for regime in REGIMES.values()} if "mlp" in options.architectures else ()
    )
    if missing := {package for name in wanted if (package := METHODS[name].lacks())}:
        print(f"studies.bench: the MLP's bench has every method: pip install {min(missing)}")
        return 2
    if options.go:
        return do(options)
    offers.prepare(threads=1)
    dataset = data.load("mnist", options.data_dir)
    tables = []
    for architecture in options.architectures:
        tables.append(estimate(architecture, options, dataset))
        for folder in ("gaussian", "families"):
            print(f"python {shlex.join(command(architecture, folder, options))}\n")
    table = pd.concat(tables)
    print("Of one core, all seeds: milliseconds of a step, minutes to train and to measure:")
    print(table.round(2).to_string(index=False))
    sums = table.groupby("architecture", sort=False)[["train", "measure", "further"]].sum()
    cores = offers.cores()
    print(f"\nMinutes on {cores} cores, one run on each:")
    print((sums.assign(all=sums.sum(axis=1)) / cores).round(1).to_string())
    print(f"all of it: {sums.to_numpy().sum() / cores:.0f} minutes. Nothing was run: --go does it.")
    return 0


if __name__ == "__main__":
    steady_output()
    sys.exit(main(read_words(Options)))
