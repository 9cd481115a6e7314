"""Choose the noisy regime's training strength α_train on validation images: no test image is used.

    python -m studies.pilot                      # trains what is missing, then prints the table
    python -m studies.pilot --alphas-train 0.3   # one more candidate

Criterion, stated before the first candidate was trained: the area under validation accuracy over
log α between the smallest and largest non-zero α of the default sweep, divided by its width, as
the mean over the four default architectures; the largest wins. Every candidate is trained by the
default recipe on the first 50,000 training images, from one seed, and measured with one draw on
the last 10,000.
"""

from machine.process import steady_output  # first: it checks Python's version

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from models import DEFAULT_ARCHITECTURES
from store import records

VALIDATION = 10_000


def area(rows: list[list]) -> float:
    """Return the mean accuracy over log α of a record's rows, by the trapezoidal rule."""
    table = pd.DataFrame(rows, columns=list(records.COLUMNS))
    curve = table[table.alpha > 0].groupby("alpha")[["correct", "total"]].sum()
    x, y = np.log(curve.index.to_numpy()), (curve.correct / curve.total).to_numpy()
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def make_table(found: list[records.Record]) -> pd.DataFrame:
    """Return the criterion: a row per α_train (0 = clean), a column per architecture, the mean."""
    cells = [
        {
            "alpha_train": record["identity"]["recipe"]["alpha_train"],
            "architecture": record["identity"]["architecture"],
            "area": area(record["measurements"][0]["rows"]),
        }
        for record in found
    ]
    table = pd.DataFrame(cells).pivot(index="alpha_train", columns="architecture", values="area")
    table = table[[name for name in DEFAULT_ARCHITECTURES if name in table]]
    return table.assign(mean=table.mean(axis=1, skipna=False)).round(4)


def main(
    alphas_train: tuple[float, ...] = (0.2, 0.4, 0.7, 1.0),
    results_dir: Path = Path("results/pilot"),
    checkpoint_dir: Path = Path("checkpoints/pilot"),
    data_dir: Path = Path("data"),
) -> int:
    """Train and measure the candidates, write `pilot.csv` and print it.

    Args:
        alphas_train: candidates for the noisy regime's training strength.
        results_dir: folder of the pilot's records.
        checkpoint_dir: folder of the pilot's checkpoints.
        data_dir: folder of the dataset files.
    """
    for regime, alpha in [("clean", 0.0), *(("noisy", a) for a in alphas_train)]:
        words = f"--validation-size {VALIDATION} --seeds 0 --draws 1 --regimes {regime}"
        words += f" --alpha-train {alpha}"
        folders = ["--results-dir", results_dir, "--checkpoint-dir", checkpoint_dir]
        command = [sys.executable, "run_experiments.py", *words.split(), *map(str, folders)]
        status = subprocess.run([*command, "--data-dir", str(data_dir)]).returncode
        if status:
            return status
    found, problems = records.load_all(results_dir / "runs")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    table = make_table(found)
    table.to_csv(results_dir / "pilot.csv")
    print(f"\nMean validation accuracy over log α\n{table.to_string()}")
    return 0


if __name__ == "__main__":
    steady_output()
    sys.exit(tyro.cli(main))
