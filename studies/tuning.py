"""Choose the one parameter of every training method on validation images. No test image is seen.

    python -m studies.tuning                     # trains what is missing, then prints the table
    python -m studies.tuning sam awp --budget 4  # some methods

What is fixed before the first candidate is trained:

- *Trials*: five values of one parameter for every method, so that none is better searched than
  another. They stand around the published one (of noise around the recipe's α) by factors of 2;
  where a parameter is a share of 1, its distance to 1 or 0 is halved and doubled instead, as far as
  it goes; bits are whole numbers. What else a method has stays as published.
- *Budget*: every candidate has the images passed forward and backward of `--budget` epochs of
  plain training, and a schedule of its own length.
- *Data*: trained without the last 10,000 training images, measured on them. The seeds are not those
  of the experiment.
- *Criterion*: that of the pilot, the area under accuracy over log α between the smallest and the
  largest α, divided by its width, as the mean over seeds: what is lost without noise and what is
  gained under it count alike. The largest wins.

One that wins at an end of its values is marked: with more trials it might have had more, and so
would others.
"""

from machine.process import steady_output  # first: it checks Python's version

import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import tyro

from analysis.intervals import half_width
from config import REGIMES
from machine.words import run as run_script
from store import records
from studies.pilot import ALPHAS, area, rows_without_noise, run

TUNED: dict[str, tuple[str, tuple[float, ...]]] = {
    "noisy": ("noise", (0.25, 0.5, 1, 2, 4)),
    "ramped": ("strength", (0.175, 0.35, 0.7, 1.4, 2.8)),
    "varied": ("strength", (0.175, 0.35, 0.7, 1.4, 2.8)),
    "antithetic": ("strength", (0.175, 0.35, 0.7, 1.4, 2.8)),
    "sam": ("rho", (0.0125, 0.025, 0.05, 0.1, 0.2)),
    "asam": ("rho", (0.125, 0.25, 0.5, 1, 2)),
    "awp": ("gamma", (0.0025, 0.005, 0.01, 0.02, 0.04)),
    "sign_awp": ("zeta", (0.025, 0.05, 0.1, 0.2, 0.4)),
    "rwp": ("gamma", (0.0025, 0.005, 0.01, 0.02, 0.04)),
    "sign_ascent": ("beta", (0.0625, 0.125, 0.25, 0.5, 1)),
    "ivon": ("lr", (0.025, 0.05, 0.1, 0.2, 0.4)),
    "ema": ("decay", (0.96, 0.98, 0.99, 0.995, 0.9975)),
    "swa": ("start", (0.25, 0.5, 0.75, 0.875, 0.9375)),
    "clipping": ("sigmas", (0.625, 1.25, 2.5, 5, 10)),
    "dropout": ("rate", (0.075, 0.15, 0.3, 0.6, 0.8)),
    "label_smoothing": ("smoothing", (0.025, 0.05, 0.1, 0.2, 0.4)),
    "distillation": ("temperature", (0.25, 0.5, 1, 2, 4)),
    "quantized": ("bits", (2, 3, 4, 5, 6)),
    "randbet": ("rate", (0.0025, 0.005, 0.01, 0.02, 0.04)),
}
"""Of each regime the parameter that is chosen, and its candidates in ascending order."""
COLUMNS = [
    *("architecture", "regime", "parameter", "value", "n", "area", "half_width", "accuracy"),
    *("chosen", "at_the_end"),
]


def candidates(regime: str) -> dict[float, str]:
    """Return the names of a regime's candidates by value: see `config.Regimes`. Also the registered
    value is named, so that records stay what they say when that is changed."""
    parameter, values = TUNED[regime]
    return {value: f"{regime}:{parameter}={value:g}" for value in values}


def own_value(regime: str, parameter: str) -> float:
    """Return the value that a registered regime has."""
    own = REGIMES[regime]
    return own.noise if parameter == "noise" else own.parameters[parameter]


def tuning_table(found: Iterable[records.Record]) -> pd.DataFrame:
    """Return a row per architecture, regime and value; the chosen one is marked.

    Columns: n (seeds), area (the criterion, mean over seeds, half_width of its 95% t-interval),
    accuracy (without noise, in percent), chosen, and at_the_end (it is chosen, and is the smallest
    or largest candidate). Nothing is chosen where candidates lack seeds that others have.
    """
    cells = pd.DataFrame(
        {
            "architecture": record["identity"]["architecture"],
            "name": record["identity"]["regime"],
            "area": area(record["measurements"][0]["rows"]),
            "accuracy": 100 * rows_without_noise(record)[3] / rows_without_noise(record)[4],
        }
        for record in found
    )
    table = []
    for architecture, mine in cells.groupby("architecture", sort=False):
        by_name = dict(list(mine.groupby("name")))
        for regime, (parameter, values) in TUNED.items():
            tried = {v: by_name[n] for v, n in candidates(regime).items() if n in by_name}
            whole = len(tried) == len(values) and len({len(part) for part in tried.values()}) == 1
            best = max(tried, key=lambda v: tried[v].area.mean()) if whole else None
            for value, part in tried.items():
                measured = (len(part), part.area.mean(), half_width(part.area))
                end = value == best and value in (values[0], values[-1])
                row = (architecture, regime, parameter, value, *measured, part.accuracy.mean())
                table.append((*row, value == best, end))
    return pd.DataFrame(table, columns=COLUMNS).round(4)


def say_choice(table: pd.DataFrame) -> list[str]:
    """Return a line for each chosen value: what `config.REGIMES` is to say."""
    return [
        f"{row.architecture} {row.regime}: {row.parameter} = {row.value:g}"
        + (" (at an end of its values)" if row.at_the_end else "")
        + (", as it is" if own_value(row.regime, row.parameter) == row.value else "")
        for row in table[table.chosen].itertuples()
    ]


def main(
    regimes: tyro.conf.Positional[tuple[str, ...]] = tuple(TUNED),
    architectures: tuple[str, ...] = ("mlp",),
    budget: int = 4,
    seeds: tuple[int, ...] = (100, 101, 102),
    train_size: int = 0,
    results_dir: Path = Path("results/tuning"),
    checkpoint_dir: Path = Path("checkpoints/tuning"),
    data_dir: Path = Path("data"),
) -> int:
    """Choose each method's one parameter on validation images: train and measure five candidates of
    each (those of `TUNED`, about an hour for all on two cores), write the table of areas
    under accuracy over log α, and print it.

    Args:
        regimes: whose parameter is chosen; the names of `TUNED`.
        architectures: names in models.ARCHITECTURES; each has a choice of its own.
        budget: epochs of plain training that every candidate's passes are worth.
        seeds: of the candidates; not those of the experiment.
        train_size: train on the first this many images; 0 = all but those of validation.
        results_dir: folder of the records and of tuning.csv.
        checkpoint_dir: folder of the checkpoints.
        data_dir: folder of the dataset files.
    """
    if unknown := [name for name in regimes if name not in TUNED]:
        takes = ", ".join(TUNED)
        print(f"studies.tuning: regimes: {unknown[0]!r} is none of {takes}", file=sys.stderr)
        return 2
    names = [name for regime in regimes for name in candidates(regime).values()]
    words = [*architectures, "--regimes", "clean", *names]
    words += [*("--alphas", ALPHAS, "--budget", budget, "--train-size", train_size)]
    words += ["--seeds", *seeds]
    if status := run(" ".join(map(str, words)), results_dir, checkpoint_dir, data_dir):
        return status
    found, problems = records.load_all(results_dir / "runs")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    asked = [r for r in found if r["identity"]["recipe"].get("budget", 0) == budget]
    table = tuning_table(asked)
    table.to_csv(results_dir / "tuning.csv", index=False)
    print(f"\n{table.to_string(index=False)}\n")
    print("\n".join(say_choice(table)))
    return 0


if __name__ == "__main__":
    steady_output()
    sys.exit(run_script(main))
