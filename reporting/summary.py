"""A row per run, a row per measurement: summary.csv, sweep.csv, the printed tables. No torch."""

from collections.abc import Sequence
from fractions import Fraction

import pandas as pd

from analysis.intervals import RUN
from config import REESTIMATED
from reporting.results import Results
from reporting.section import Section
from reporting.text import Table, number

REFERENCE_ALPHA = 0.1
"""The noise strength α that the summary quotes, matched exactly."""
SUMMARY = {"acc_0": "Acc(0)", "acc_0.1": "Acc(0.1)", "drop_0.1": "Drop"}
"""Measured columns of the summary, and their printed names."""


def section(results: Results) -> Section:
    """Return every run and every measurement."""
    runs = [tuple(record["identity"][key] for key in RUN) for record in results.records]
    summary = make_summary(runs, results.rows)
    sweep = every_sweep(results)
    csv = {"summary.csv": summary, "sweep.csv": sweep}
    return Section("summary", tables=summary_tables(summary), csv=csv)


def every_sweep(results: Results) -> pd.DataFrame:
    """Return the rows of every noise family and BatchNorm policy under each other.

    The columns `noise` and `batchnorm` are appended only where there is more than one."""
    frozen, anew = {"gaussian": results.rows, **results.families}, results.reestimated
    tables = [make_sweep(t).assign(noise=n, batchnorm="frozen") for n, t in frozen.items()]
    tables += [make_sweep(t).assign(noise=n, batchnorm=REESTIMATED) for n, t in anew.items()]
    sweep = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    if "sign" in sweep:
        sweep["sign"] = sweep["sign"].fillna(1).astype(int)
    more = {"noise": len(frozen) > 1, "batchnorm": bool(anew)}
    order = [name for name in sweep if name not in more]
    return sweep[[*order, *(name for name, needed in more.items() if needed)]]


def make_sweep(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as fractions: accuracy = correct / total, loss = mean over the images.

    A `sign` column is appended only where some −ε was measured.
    """
    table = rows[RUN].assign(
        alpha_test=rows.alpha,
        draw=rows.draw,
        accuracy=rows.correct / rows.total,
        loss=rows.loss / rows.total,
    )
    return table.assign(sign=rows.sign) if (rows.sign < 0).any() else table


def make_summary(runs: Sequence[tuple[str, str, int]], rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run: accuracy at 0 and at `REFERENCE_ALPHA` over the +ε draws, and the drop.

    Fractions are divided once, from the counts: no averages of averages, no rounding in between.
    NaN where not measured.
    """
    plus = rows[rows.sign > 0]
    counts = plus.groupby([*RUN, "alpha"], observed=True)[["correct", "total"]].sum()
    found = {key: Fraction(int(c), int(n)) for key, c, n in counts.itertuples()}
    table = []
    for run in runs:
        start, end = (found.get((*run, alpha)) for alpha in (0.0, REFERENCE_ALPHA))
        drop = None if start is None or end is None else start - end
        table.append((*run, *(None if v is None else float(v) for v in (start, end, drop))))
    summary = pd.DataFrame(table, columns=[*RUN, *SUMMARY])
    return summary.astype(dict.fromkeys(SUMMARY, float))


def summary_tables(summary: pd.DataFrame) -> list[Table]:
    """Return the summary with a row per run, and the mean drop per architecture and regime."""
    runs = [
        [row.architecture, row.regime, str(row.seed), *(number(row[c]) for c in SUMMARY)]
        for _, row in summary.iterrows()
    ]
    groups = summary.groupby(RUN[:2], sort=False, observed=True)["drop_0.1"].agg(["mean", "count"])
    means = [[*name, number(row["mean"]), f"{row['count']:.0f}"] for name, row in groups.iterrows()]
    return [
        Table("", ["Architecture", "Regime", "Seed", *SUMMARY.values()], runs),
        Table(
            f"Mean drop at α = {REFERENCE_ALPHA:g}"
            + (" (which is not among --alphas)" if summary["acc_0.1"].isna().all() else ""),
            ["Architecture", "Regime", "Mean drop", "Seeds"],
            means,
        ),
    ]
