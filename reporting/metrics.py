"""One number per curve, and what it would take to resolve more: tables. No torch."""

import math

import pandas as pd

from analysis import curves, intervals, power
from reporting.results import Results
from reporting.section import Section
from reporting.text import NONE, Table, bounds, count, find
from store.records import Record

Times = dict[tuple, tuple[float, float]]
"""By architecture and regime: core-seconds of one more paired seed, and of one more draw of it."""


def section(results: Results) -> Section:
    """Return the metrics of each architecture, and what it would take."""
    rows = results.rows
    metrics = curves.curve_metrics(rows)
    open_ = power.open_comparisons(results.effects, results.endpoints)
    takes = power.what_it_takes(open_, find_times(results.records))
    means = curves.metrics_over_seeds(metrics)
    pairs = curves.metrics_over_seeds(curves.paired_metrics(metrics))
    return Section(
        "metrics",
        by_architecture={
            name: metrics_table(means, pairs, name, find_range(rows, name))
            for name in results.measured
        },
        tables=[takes_table(takes)],
        csv={"curves.csv": metrics},
    )


def find_range(rows: pd.DataFrame, architecture: str) -> curves.Bounds:
    """Return the smallest and the largest α > 0 that all runs of an architecture have; NaN if none
    is."""
    common = curves.common_alphas(rows[(rows.architecture == architecture) & (rows.sign > 0)])
    return (float(common[0]), float(common[-1])) if len(common) else curves.NOT_KNOWN


def metrics_table(
    means: pd.DataFrame, pairs: pd.DataFrame, architecture: str, ends: curves.Bounds
) -> Table:
    """Return the curve metrics of each regime over seeds, and against the baseline.

    Without rows unless two or more α > 0 were measured: there is no curve.

    Args:
        means, pairs: from `curves.metrics_over_seeds`, of runs and of pairs.
        architecture: the one to show.
        ends: from `find_range`.
    """
    low, high = ends
    baseline = intervals.baseline_of(means)
    means, pairs = (
        table[table.architecture == architecture].set_index(["regime", "metric"])
        for table in (means, pairs)
    )
    regimes = list(dict.fromkeys(means.index.get_level_values("regime")))
    others = [r for r in regimes if r != baseline in regimes]
    body = []
    for metric, meaning in curves.METRICS.items() if low < high else ():
        log = metric in curves.LOG
        effects = [bounds(find(pairs, (r, metric)), log, signed=not log) for r in others]
        body.append([meaning, *(bounds(find(means, (r, metric)), log) for r in regimes), *effects])
    header = ["Metric", *regimes, *(f"{r} against {baseline}" for r in others)]
    caption = (
        f"{architecture}: curve metrics, mean over seeds [95% t-interval, each by itself] (n). "
        "α-valued metrics: geometric means, and ratios; else differences. "
        f"Between α = {low:g} and {high:g}, the strengths that all runs have; "
        f"small: α ≤ {curves.SMALL:g}. "
        "> and <: beyond what was swept"
    )
    return Table(caption, header, body)


def takes_table(takes: pd.DataFrame) -> Table:
    """Return what each unresolved comparison would take, from `power.what_it_takes`."""
    body = [
        [
            f"{row.architecture}, {row.regime}",
            row.what,
            f"{row.seeds} × {row.draws}",
            say_half(row.half, row.unit),
            say_half(row.upper, row.unit).removeprefix("± "),
            count(row.needed_seeds),
            say_best(row),
            say_hour(row.hour_seeds, row.half_seeds, row.unit, "seed"),
            say_hour(row.hour_draws, row.half_draws, row.unit, "draw"),
        ]
        for row in takes.itertuples()
    ]
    point = f"{power.TARGETS['points']:g} point"
    caption = (
        f"What would resolve an effect of {point}, or a tolerance of "
        f"{math.exp(power.TARGETS['ratio']):.2f}, with {100 * power.POWER:g}% power at the level "
        "of the first step, for each unresolved comparison, if the spread over seeds is its upper "
        f"bound (one-sided {100 * power.SURE:g}%, χ²): seeds, with the draws there are"
    )
    in_hours = (
        "; and the cheapest seeds × draws, in core-hours. The last two columns: what the next "
        "core-hour makes of the ± with the spread as estimated, by the times in the records"
    )
    header = ["Comparison", "Of", "Seeds × draws", "± now", "Spread, at most", "Seeds needed"]
    hours = ["Cheapest", "An hour of seeds", "An hour of draws"]
    if any(cells[len(header) :] != [NONE] * len(hours) for cells in body):
        return Table(f"{caption}{in_hours}", header + hours, body)
    return Table(caption, header, [cells[: len(header)] for cells in body])  # no times are known


def say_half(half: float, unit: str) -> str:
    """Return a half-width or a spread: in points, or as the factor that a ratio has either way."""
    if not math.isfinite(half):
        return NONE
    return f"× {math.exp(half):.3f}" if unit == "ratio" else f"± {half:.2f}"


def say_best(row) -> str:
    """Return the cheapest way of a comparison; a dash where there is none or it is not known."""
    if math.isnan(row.best_seeds):
        return NONE
    return f"{row.best_seeds:.0f} × {row.best_draws:.0f}, {row.best_hours:.1f} h"


def say_hour(more: float, half: float, unit: str, what: str) -> str:
    """Return what a core-hour of seeds or draws makes of a half-width."""
    if math.isnan(more):
        return NONE
    return f"{say_half(half, unit)} ({more:+.0f} {what}{'' if more == 1 else 's'})"


def find_times(records: list[Record]) -> Times:
    """Return what seeds and draws take, by the times that records hold: medians over runs, with
    those of the baseline's runs, which a pair needs too. Without times, nothing."""
    found: dict[tuple, list] = {}
    for record in records:
        who, facts = record["identity"], record["provenance"]
        training, measuring = facts.get("training") or {}, facts.get("measuring") or {}
        rows = [row for block in record["measurements"] for row in block["rows"]]
        draws = len({row[1] for row in rows}) or 1
        if "epoch_seconds" in training and "seconds" in measuring:
            threads = training.get("threads", 1)
            spent = threads * sum(training["epoch_seconds"]), threads * measuring["seconds"]
            key = who["architecture"], who["regime"]
            if min(spent) > 0:  # shorter than a clock tells is not known
                found.setdefault(key, []).append((sum(spent), spent[1] / draws))
    each = {key: pd.DataFrame(times).median() for key, times in found.items()}
    return {
        key: tuple(each[key] + each[key[0], intervals.BASELINE])
        for key in each
        if key[1] != intervals.BASELINE and (key[0], intervals.BASELINE) in each
    }
