"""Mean accuracy with its interval, by everything that it depends on: accuracy.csv. No torch."""

from collections.abc import Iterator

import pandas as pd

from analysis import intervals
from config import REESTIMATED
from reporting.results import Results
from reporting.section import Section

FROZEN = "frozen"
"""The policy that takes BatchNorm statistics as training left them."""
COLUMNS = (
    *("noise", "batchnorm", "architecture", "regime", "alpha", "seeds", "draws_min", "draws_max"),
    *("accuracy", "sd", "low", "high", "chance"),
)


def section(results: Results) -> Section:
    """Return accuracy.csv, which the curves of the page are drawn from too."""
    return Section("curve_table", csv={"accuracy.csv": curve_table(results)})


def each_sweep(results: Results) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield noise family, BatchNorm policy and rows of whatever was measured."""
    for policy, sweeps in (
        (FROZEN, {"gaussian": results.rows, **results.families}),
        (REESTIMATED, results.reestimated),
    ):
        for family, rows in sweeps.items():
            if len(rows):
                yield family, policy, rows


def curve_table(results: Results) -> pd.DataFrame:
    """Return a row per noise, BatchNorm policy, architecture, regime and strength: mean accuracy
    over seeds, a fraction, its standard deviation over seeds and 95% t-interval, each by itself
    (NaN with one seed), seeds and draws per seed that it is of, and the accuracy of guessing."""
    tables = []
    for family, policy, rows in each_sweep(results):
        means = intervals.mean_accuracy(rows).rename(columns={"mean": "accuracy"})
        chance = rows.groupby("architecture", observed=True).chance.max()
        means["chance"] = means.architecture.map(chance).astype(float)
        tables.append(means.assign(noise=family, batchnorm=policy)[[*COLUMNS]])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS])
