"""Choose the recipe on validation images: epochs per architecture, then α_train. No test image.

    python -m studies.pilot epochs               # trains what is missing, then prints the table
    python -m studies.pilot strengths

Criteria, stated before the first candidate was trained. Every candidate is trained on the first
50,000 training images, with a schedule of its own length, and measured on the last 10,000; its
seeds are not those of the experiment.

*Epochs*: an architecture's is the least of 1, 2, 4, 8, … of which the double gains less than 0.1
point of accuracy without noise in either regime, as the mean over seeds. Where no candidate is,
the table says what doubling the largest but one gains.

*Strengths*: the area under accuracy over log α between the smallest and largest non-zero α, divided
by its width, as the mean over seeds and the four default architectures; the largest wins.
"""

from machine.process import steady_output  # first: it checks Python's version

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro

from analysis.intervals import half_width
from config import DEFAULT_REGIMES
from machine import words
from models import DEFAULT_ARCHITECTURES
from store import records

VALIDATION = 10_000
ALPHAS = "0 0.01 0.02 0.05 0.1 0.2 0.3 0.5 0.7 1 1.4 2"
ENOUGH = 0.1
"""Points of accuracy: what less than this is gained by is no reason to train twice as long."""


def accuracies(found: list[records.Record]) -> pd.DataFrame:
    """Return a row per record: architecture, regime, epochs, seed, and accuracy without noise in
    percent."""
    return pd.DataFrame(
        {
            "architecture": record["identity"]["architecture"],
            "regime": record["identity"]["regime"],
            "epochs": record["identity"]["recipe"]["epochs"],
            "seed": record["identity"]["seed"],
            "accuracy": 100 * rows_without_noise(record)[3] / rows_without_noise(record)[4],
        }
        for record in found
    )


def epochs_table(found: list[records.Record]) -> pd.DataFrame:
    """Return a row per architecture, regime and number of epochs.

    Columns: `n` seeds, `accuracy` without noise in percent, and what twice the epochs gain, in
    points: the mean over the seeds of both with its 95% t-interval; NaN where they are missing.
    """
    cells = accuracies(found)
    order = [name for name in DEFAULT_ARCHITECTURES if name in set(cells.architecture)]
    table = []
    for (architecture, regime), group in cells.groupby(["architecture", "regime"]):
        by_seed = group.pivot(index="seed", columns="epochs", values="accuracy")
        for epochs, accuracy in by_seed.items():
            gain = (by_seed.get(2 * epochs, np.nan) - accuracy).dropna()
            row = (architecture, regime, epochs, accuracy.count(), accuracy.mean())
            table.append((*row, gain.mean(), half_width(gain), len(gain)))
    names = ["architecture", "regime", "epochs", "n", "accuracy", "gain", "half_width", "pairs"]
    table = pd.DataFrame(table, columns=names)
    key = table.architecture.map(order.index)
    return table.iloc[np.lexsort([table.epochs, table.regime, key])].round(4).reset_index(drop=True)


def gain_apart(found: list[records.Record], architecture: str, epochs: int) -> tuple[float, float]:
    """Return by how much more twice the epochs gain trained noisy than clean, in points, paired by
    seed: the mean with its 95% t-interval."""
    cells = accuracies(found)
    cells = cells[cells.architecture == architecture]
    table = cells.pivot(index="seed", columns=["regime", "epochs"], values="accuracy")
    gains = [table[regime, 2 * epochs] - table[regime, epochs] for regime in DEFAULT_REGIMES]
    apart = (gains[1] - gains[0]).dropna()
    return apart.mean(), half_width(apart)


def rows_without_noise(record: records.Record) -> list:
    """Return the row at α = 0."""
    return next(row for row in record["measurements"][0]["rows"] if row[0] == 0)


def choice(table: pd.DataFrame) -> dict[str, int | None]:
    """Return each architecture's epochs by the criterion; None where no candidate meets it."""
    found = {}
    for architecture, group in table.groupby("architecture", sort=False):
        gains = group.pivot(index="epochs", columns="regime", values="gain")
        enough = gains.index[(gains < ENOUGH).all(axis=1)]  # NaN is not less
        found[architecture] = int(enough.min()) if len(enough) else None
    return found


def area(rows: list[list]) -> float:
    """Return the mean accuracy over log α of a record's rows, by the trapezoidal rule."""
    table = pd.DataFrame([row[:6] for row in rows], columns=list(records.COLUMNS)[:6])
    curve = table[table.alpha > 0].groupby("alpha")[["correct", "total"]].sum()
    x, y = np.log(curve.index.to_numpy()), (curve.correct / curve.total).to_numpy()
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def strengths_table(found: list[records.Record]) -> pd.DataFrame:
    """Return the criterion: a row per α_train (0 = clean), a column per architecture, the mean."""
    cells = pd.DataFrame(
        {
            "alpha_train": record["identity"]["recipe"]["alpha_train"],
            "architecture": record["identity"]["architecture"],
            "area": area(record["measurements"][0]["rows"]),
        }
        for record in found
    )
    table = cells.groupby(["alpha_train", "architecture"]).area.mean().unstack()
    table = table[[name for name in DEFAULT_ARCHITECTURES if name in table]]
    return table.assign(mean=table.mean(axis=1, skipna=False)).round(4)


def run(words: str, results_dir: Path, checkpoint_dir: Path, data_dir: Path) -> int:
    """Train and measure candidates; return the exit status."""
    folders = ["--results-dir", results_dir, "--checkpoint-dir", checkpoint_dir]
    command = [sys.executable, "run_experiments.py", *words.split(), *folders]
    command += ["--validation-size", VALIDATION, "--data-dir", data_dir]
    return subprocess.run([*map(str, command)]).returncode


def main(
    part: tyro.conf.Positional[Literal["epochs", "strengths"]],
    architectures: tuple[str, ...] = DEFAULT_ARCHITECTURES,
    epochs: tuple[int, ...] = (2, 4, 8, 16),
    alphas_train: tuple[float, ...] = (0.2, 0.4, 0.7, 1.0),
    seeds: tuple[int, ...] = (100, 101, 102),
    results_dir: Path = Path("results/pilot"),
    checkpoint_dir: Path = Path("checkpoints/pilot"),
    data_dir: Path = Path("data"),
) -> int:
    """Train and measure the candidates, write the table and print it.

    Args:
        part: what is chosen: `epochs`, or the `strengths` of training noise.
        architectures: names in models.ARCHITECTURES.
        epochs: candidates for the number of epochs.
        alphas_train: candidates for the noisy regime's training strength.
        seeds: of the candidates; not those of the experiment.
        results_dir: folder of the pilot's records; each part has its own inside.
        checkpoint_dir: folder of the pilot's checkpoints.
        data_dir: folder of the dataset files.
    """
    where = results_dir / part
    named = f"{' '.join(architectures)} --seeds {' '.join(map(str, seeds))}"
    if part == "epochs":
        both = " ".join(DEFAULT_REGIMES)
        commands = [f"{named} --alphas 0 --regimes {both} --epochs {n}" for n in epochs]
    else:
        of_noise = [("clean", 0.0), *(("noisy", alpha) for alpha in alphas_train)]
        commands = [
            f"{named} --alphas {ALPHAS} --regimes {r} --alpha-train {a}" for r, a in of_noise
        ]
    for command in commands:
        if status := run(command, where, checkpoint_dir, data_dir):
            return status
    found, problems = records.load_all(where / "runs")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    table = epochs_table(found) if part == "epochs" else strengths_table(found)
    table.to_csv(results_dir / f"{part}.csv", index=part == "strengths")
    print(f"\n{table.to_string()}")
    if part == "epochs":
        print(
            "".join(f"\n{name}: {n or 'more than was tried'}" for name, n in choice(table).items())
        )
    return 0


if __name__ == "__main__":
    steady_output()
    sys.exit(words.run(main))
