"""Trained under noise F at strength s, measured under noise G: what carries over?

    python -m studies.transfer                   # trains what is missing, then matrix and tables
    python -m studies.transfer cnn --train gaussian:0.35,0.7 bit_errors:0.01,0.05

A results folder holds one recipe, so that each training has its own, on common checkpoints: the
models without noise are trained once. `matrix.csv`, `best.csv`, `transfer.md` and a heat map per
architecture are made from the records of all.
"""

from machine.process import steady_output  # first: it checks Python's version

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

import noises
from analysis.transfer import Training, best_strengths, matrix, name
from machine.checks import known
from machine.words import read as read_words
from noises.words import read_noise
from reporting.plots import encode
from reporting.results import read
from reporting.text import align
from reporting.transfer import CAPTION, best_table, heat_map
from store.files import write_whole

TRAIN = ("gaussian:0.35,0.7,1.4", "multiplicative:0.2,0.5", "bit_errors:0.01,0.05")
MEASURE = ("multiplicative:0.2,0.5", "bit_errors:0.01,0.05,0.2")
TITLE = "Trained under one noise, measured under another"
ALPHAS = ("0", "0.2", "0.5", "0.7", "1", "1.4", "2")


@dataclass(frozen=True)
class Options:
    """Train under each noise and strength, measure under all, compare."""

    architectures: tyro.conf.Positional[tuple[str, ...]] = ("mlp",)
    """Names in models.ARCHITECTURES."""
    train: tuple[str, ...] = TRAIN
    """Noise to train with, as FAMILY:STRENGTH,STRENGTH."""
    noise: tuple[str, ...] = MEASURE
    """Noise to measure beside the Gaussian, likewise."""
    alphas: tuple[str, ...] = ALPHAS
    """Strengths of the Gaussian one; 0 is among them."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """One model per training and seed."""
    budget: int = 4
    """Epochs of plain training that every training's passes are worth."""
    draws: int = 5
    """Noise draws for every strength."""
    train_size: int = 0
    """Train on the first this many images; 0 = all."""
    test_size: int = 2000
    """Measure on the first this many test images; 0 = all."""
    data_dir: Path = Path("data")
    """Folder of the dataset files."""
    checkpoint_dir: Path = Path("checkpoints/transfer")
    """Folder of the trained weights."""
    results_dir: Path = Path("results/transfer")
    """Folder of the folders of each training, and of what is made of them."""


def read_trainings(words: tuple[str, ...]) -> list[Training]:
    """Return family and strength of every training that is asked for.

    Raises:
        ValueError: in a few words, if one is not FAMILY:STRENGTH,STRENGTH of a known family.
    """
    out = []
    for word in words:
        family, _, listed = word.partition(":")
        if not listed:
            raise ValueError(f"--train: takes FAMILY:STRENGTH,STRENGTH, got {word!r}")
        known("--train", [family], noises.FAMILIES)
        try:
            strengths = [float(text) for text in listed.split(",")]
            for strength in strengths:
                noises.find(family).check(strength)
        except ValueError as error:
            raise ValueError(f"--train: {word!r}: {error}") from None
        out += [(family, strength) for strength in strengths]
    return list(dict.fromkeys(out))


def folder_of(training: Training, options: Options) -> Path:
    """Return the results folder of a training."""
    return options.results_dir / f"{training[0]}-{training[1]:g}"


def command(training: Training, options: Options) -> list[str]:
    """Return the command that trains and measures, in words."""
    family, strength = training
    words = ["run_experiments.py", *options.architectures, "--regimes", "clean", "noisy"]
    words += ["--train-noise", family, "--alpha-train", f"{strength:g}", "--seeds", *options.seeds]
    words += ["--alphas", *options.alphas, "--noise", *options.noise, "--draws", options.draws]
    words += ["--budget", options.budget, "--train-size", options.train_size]
    words += ["--test-size", options.test_size, "--data-dir", options.data_dir]
    words += ["--checkpoint-dir", options.checkpoint_dir]
    return [*map(str, (*words, "--results-dir", folder_of(training, options)))]


def gather(trainings: list[Training], options: Options) -> dict[str, pd.DataFrame]:
    """Return the rows of all trainings by measured noise, each training a regime of its own; the
    models without noise, which all folders have, once."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for n, training in enumerate(trainings):
        results = read(folder_of(training, options))
        for noise, rows in {"gaussian": results.rows, **results.families}.items():
            rows = rows.astype({"architecture": str, "regime": str})
            own = rows[rows.regime == "noisy"].assign(regime=name(training))
            base = [rows[rows.regime == "clean"]] if n == 0 else []
            parts.setdefault(noise, []).extend([*base, own])
    order = ["clean", *map(name, trainings)]
    kinds = {
        "regime": pd.CategoricalDtype(order, ordered=True),
        "architecture": pd.CategoricalDtype(list(options.architectures), ordered=True),
    }
    return {n: pd.concat(p, ignore_index=True).astype(kinds) for n, p in parts.items()}


def report(trainings: list[Training], options: Options) -> str:
    """Write matrix, best strengths, text and heat maps; return the text."""
    by_noise = gather(trainings, options)
    cells, best = matrix(by_noise, trainings), best_strengths(by_noise, trainings)
    folder, texts = options.results_dir, [f"# {TITLE}"]
    cells.to_csv(folder / "matrix.csv", index=False)
    best.to_csv(folder / "best.csv", index=False)
    for architecture in options.architectures:
        figure = heat_map(cells, architecture)
        for kind in ("png", "pdf"):
            write_whole(folder / f"transfer-{architecture}.{kind}", encode(figure, kind))
        texts += [f"![{architecture}: {TITLE}](transfer-{architecture}.png)", f"{CAPTION}."]
        texts += [f"```\n{align(best_table(best, architecture))}\n```"]
    text = "\n\n".join(texts) + "\n"
    write_whole(folder / "transfer.md", text.encode())
    return text


def main(options: Options) -> int:
    """Do what is missing, then report; return the exit status."""
    try:
        trainings = read_trainings(options.train)
        read_noise(options.noise)
    except ValueError as error:
        print(f"studies.transfer: {error}", file=sys.stderr)
        return 2
    for training in trainings:
        if status := subprocess.run([sys.executable, *command(training, options)]).returncode:
            return status
    print(report(trainings, options))
    return 0


if __name__ == "__main__":
    steady_output()
    sys.exit(main(read_words(Options)))
