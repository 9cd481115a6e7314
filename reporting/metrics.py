"""One number per curve, and the seeds it would take: tables. No torch."""

import pandas as pd

from analysis import curves, intervals
from reporting.results import Results
from reporting.section import Section
from reporting.text import Table, bounds, count, find, number


def section(results: Results) -> Section:
    """Return the metrics of each architecture, and what it would take."""
    metrics, ends = (
        curves.curve_metrics(results.rows, results.chance),
        curves.alpha_range(results.rows),
    )
    means = curves.metrics_over_seeds(metrics)
    pairs = curves.metrics_over_seeds(curves.paired_metrics(metrics))
    return Section(
        "metrics",
        by_architecture={
            name: metrics_table(means, pairs, name, ends) for name in results.measured
        },
        tables=[seeds_table(results.effects)],
        csv={"curves.csv": metrics},
    )


def metrics_table(
    means: pd.DataFrame, pairs: pd.DataFrame, architecture: str, ends: curves.Bounds
) -> Table:
    """Return the curve metrics of each regime over seeds, and against the baseline.

    Without rows unless two or more α > 0 were measured: there is no curve.

    Args:
        means, pairs: from `curves.metrics_over_seeds`, of runs and of pairs.
        architecture: the one to show.
        ends: the smallest and the largest α > 0.
    """
    low, high = ends
    baseline = intervals.baseline_of(means)
    means, pairs = (
        table[table.architecture == architecture].set_index(["regime", "metric"])
        for table in (means, pairs)
    )
    regimes = list(dict.fromkeys(means.index.get_level_values("regime")))
    others = [r for r in regimes if r != baseline]
    body = []
    for metric, meaning in curves.METRICS.items() if low < high else ():
        log = metric in curves.LOG
        effects = [bounds(find(pairs, (r, metric)), log, signed=not log) for r in others]
        body.append([meaning, *(bounds(find(means, (r, metric)), log) for r in regimes), *effects])
    header = ["Metric", *regimes, *(f"{r} against {baseline}" for r in others)]
    caption = (
        f"{architecture}: curve metrics, mean over seeds [95% t-interval, each by itself] (n). "
        "α-valued metrics: geometric means, and ratios; else differences. "
        f"Between α = {low:g} and {high:g}; small: α ≤ {curves.SMALL:g}. "
        "> and <: beyond what was swept"
    )
    return Table(caption, header, body)


def seeds_table(effects: pd.DataFrame) -> Table:
    """Return how many seeds each unresolved comparison would take."""
    body = [
        [
            f"{row.architecture}, {row.regime}",
            f"{row.alpha:g}",
            f"{row.seeds}",
            number(row.sd, 3, 100),
            count(row.needed),
            " to ".join(dict.fromkeys((count(row.needed_low), count(row.needed_high)))),
        ]
        for row in intervals.what_it_takes(effects).itertuples()
        if row.seeds > 1  # one seed has no spread to go by
    ]
    caption = (
        f"Seeds that would resolve an effect of {100 * intervals.EFFECT:g} point with "
        f"{100 * intervals.POWER:g}% power at the simultaneous level, for each unresolved "
        "comparison; the range is what the uncertainty of the spread (95% χ² interval) leaves"
    )
    header = ["Comparison", "α", "n now", "Spread over seeds (points)", "Seeds needed", "Range"]
    return Table(caption, header, body)
