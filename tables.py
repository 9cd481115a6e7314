"""The tables of the report: frames for the CSV files, and text for people. No torch.

A `Table` is plain text, written once and rendered by the templates as HTML, Markdown and LaTeX.
Accuracies and retention are fractions, differences are in points (0.01); "±" is the half-width of
a 95% t-interval over seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

import stats
from stats import RUN

REFERENCE_ALPHA = 0.1
"""The noise strength α that the summary quotes, matched exactly."""
SUMMARY = {"acc_0": "Acc(0)", "acc_0.1": "Acc(0.1)", "drop_0.1": "Drop"}
"""Measured columns of the summary, and their printed names."""
NONE = "–"


@dataclass(frozen=True)
class Table:
    """A table as text: the first cell of a row names it."""

    caption: str
    header: list[str]
    body: list[list[str]]


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
            f"Mean drop at α = {REFERENCE_ALPHA:g}",
            ["Architecture", "Regime", "Mean drop", "Seeds"],
            means,
        ),
    ]


def align(table: Table) -> str:
    """Return a table as plain text: words to the left, numbers to the right."""
    left = {"Architecture", "Regime", "Parameter"}
    widths = [max(map(len, column)) for column in zip(table.header, *table.body, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(table.header, row, widths, strict=True)
        ).rstrip()
        for row in [table.header, *table.body]
    ]
    return "\n".join([table.caption, *lines] if table.caption else lines)


def number(value: float | None, digits: int = 4, scale: float = 1) -> str:
    """Return a number with fixed digits (never "-0.0000"), and a dash where there is none."""
    return NONE if value is None or pd.isna(value) else f"{scale * value:z.{digits}f}"


def with_half(found: dict, name: str, scale: float = 1, form: str = ".4f") -> str:
    """Return "mean ± half"; the mean alone where one seed gives no interval."""
    value = found.get(name)
    if value is None or pd.isna(value):
        return NONE
    mean = f"{scale * value:{form}}"
    half = found["half"]
    return mean if pd.isna(half) else f"{mean} ± {scale * half:{form.removeprefix('+')}}"


def span(low: float | None, high: float | None) -> str:
    """Return one whole number, or a range of two that differ."""
    if low is None or high is None:
        return NONE
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"


def bounds(found: dict, log: bool, signed: bool = False) -> str:
    """Return the bounds of a mean and its interval, like "> 1.8 [1.2, –] (n = 3, 1 censored)".

    Args:
        found: a row of `curves.metrics_over_seeds`; empty if there is none.
        log: whether the metric is positive, so that 0 is no bound at all.
        signed: whether to show a plus sign.
    """
    if not found or not found["seeds"]:
        return NONE
    lowest, highest = 0.0 if log else -math.inf, math.inf

    def text(value: float) -> str:
        return f"{value:+.3g}" if signed else f"{value:.3g}"

    low, high = found["mean_low"], found["mean_high"]
    if low == high:
        mean = text(low)
    elif low > lowest:
        mean = f"{text(low)} to {text(high)}" if high < highest else f"> {text(low)}"
    else:
        mean = f"< {text(high)}" if high < highest else "not known"
    low = text(found["low"]) if found["low"] > lowest else NONE
    high = text(found["high"]) if found["high"] < highest else NONE
    interval = f" [{low}, {high}]" if (low, high) != (NONE, NONE) else ""
    censored = f", {found['censored']:.0f} censored" if found["censored"] else ""
    return f"{mean}{interval} (n = {found['seeds']:.0f}{censored})"


def count(value: float) -> str:
    """Return a number of seeds; above the cap only that it is."""
    if pd.isna(value):
        return NONE
    return f"> {stats.MOST_SEEDS}" if value > stats.MOST_SEEDS else f"{value:.0f}"
