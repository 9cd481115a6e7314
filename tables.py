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

import curvature
import curves
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


def main_table(rows: pd.DataFrame, architecture: str, baseline: str = stats.BASELINE) -> Table:
    """Return absolute accuracy, paired effect, verdict, drop and retention side by side, by α."""
    rows = rows[rows.architecture == architecture]
    means = stats.intervals(rows).set_index(["regime", "alpha"])
    effects = stats.paired_effects(rows, baseline=baseline).set_index(["regime", "alpha"])
    others = [r for r in dict.fromkeys(means.index.get_level_values("regime")) if r != baseline]
    body = []
    for alpha in sorted(rows.alpha.unique()):
        for regime in others or [None]:
            both = [find(means, (name, alpha)) for name in (baseline, regime)]
            effect = find(effects, (regime, alpha))
            body.append(
                [
                    f"{alpha:g}",
                    *([regime] if len(others) > 1 else []),
                    *(with_half(m, "mean") for m in both),
                    with_half(effect, "effect", 100, "+.2f"),
                    verdict(effect),
                    *(number(m.get("drop"), 2, 100) for m in both),
                    *(number(m.get("retention"), 3) for m in both),
                    " / ".join(f"{m.get('seeds', 0):.0f}" for m in (*both, effect)),
                    " / ".join(span(m.get("draws_min"), m.get("draws_max")) for m in both),
                ]
            )
    other = others[0] if len(others) == 1 else "regime"
    header = [
        "α",
        *(["Regime"] if len(others) > 1 else []),
        f"Accuracy, {baseline}",
        f"Accuracy, {other}",
        "Effect (points)",
        "Verdict",
        f"Drop, {baseline} (points)",
        f"Drop, {other} (points)",
        f"Retention, {baseline}",
        f"Retention, {other}",
        "n seeds",
        "n draws",
    ]
    caption = (
        f"{architecture}: mean over seeds ± half-width of the 95% t-interval; effect = {other} − "
        f"{baseline}, paired by seed, simultaneous over the non-zero α; n of {baseline} / {other}"
        " / pairs"
    )
    return Table(caption, header, body)


def find(table: pd.DataFrame, key: tuple) -> dict:
    """Return a row as a dictionary, empty where there is none."""
    return table.loc[key].to_dict() if key in table.index else {}


def verdict(effect: dict) -> str:
    """Return the verdict word of an effect; an unresolved one with what could not be seen."""
    if not effect:
        return NONE
    if effect["verdict"] != stats.UNRESOLVED:
        return effect["verdict"]
    half = f"± {100 * effect['half']:.2f}" if effect["seeds"] > 1 else "one seed"
    return f"{stats.UNRESOLVED} ({half})"


def metrics_table(rows: pd.DataFrame, architecture: str, baseline: str = stats.BASELINE) -> Table:
    """Return the curve metrics of each regime over seeds, and against the baseline.

    Without rows unless two or more α > 0 were measured: there is no curve.
    """
    low, high = curves.alpha_range(rows)
    per_run = curves.curve_metrics(rows)
    mine = per_run[per_run.architecture == architecture]
    means = curves.metrics_over_seeds(mine).set_index(["regime", "metric"])
    pairs = curves.metrics_over_seeds(curves.paired_metrics(mine, baseline))
    pairs = pairs.set_index(["regime", "metric"])
    regimes = list(dict.fromkeys(mine.regime))
    others = [r for r in regimes if r != baseline]
    body = []
    for metric, meaning in curves.METRICS.items() if low < high else ():
        log = metric in curves.LOG
        effects = [bounds(find(pairs, (r, metric)), log, signed=not log) for r in others]
        body.append([meaning, *(bounds(find(means, (r, metric)), log) for r in regimes), *effects])
    header = ["Metric", *regimes, *(f"{r} against {baseline}" for r in others)]
    caption = (
        f"{architecture}: curve metrics, mean over seeds [95% t-interval] (n). α-valued metrics: "
        f"geometric means, and ratios; else differences. Between α = {low:g} and {high:g}; small: "
        f"α ≤ {curves.SMALL:g}. > and <: beyond what was swept"
    )
    return Table(caption, header, body)


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


def seeds_table(effects: pd.DataFrame) -> Table:
    """Return how many seeds each unresolved comparison would take."""
    body = [
        [
            f"{row.architecture}, {row.regime}",
            f"{row.alpha:g}",
            f"{row.seeds}",
            number(row.sd, 3, 100),
            count(row.needed),
            f"{count(row.needed_low)} to {count(row.needed_high)}",
        ]
        for row in stats.what_it_takes(effects).itertuples()
        if row.seeds > 1  # one seed has no spread to go by
    ]
    caption = (
        f"Seeds that would resolve an effect of {100 * stats.EFFECT:g} point with "
        f"{100 * stats.POWER:g}% power at the simultaneous level, for each unresolved comparison; "
        "the range is what the uncertainty of the spread (95% χ² interval) leaves"
    )
    header = ["Comparison", "α", "n now", "Spread over seeds (points)", "Seeds needed", "Range"]
    return Table(caption, header, body)


def count(value: float) -> str:
    """Return a number of seeds; above the cap only that it is."""
    if pd.isna(value):
        return NONE
    return f"> {stats.MOST_SEEDS}" if value > stats.MOST_SEEDS else f"{value:.0f}"


def spread_table(rows: pd.DataFrame, architecture: str) -> Table:
    """Return how single draws spread, by regime and α > 0."""
    spread = stats.draw_spread(rows[rows.architecture == architecture])
    body = [
        [
            f"{row.alpha:g}",
            row.regime,
            *(number(v) for v in (row.q05, row.q50, row.q95, row.lowest)),
            f"{row.seeds} / {row.draws}",
        ]
        for row in spread[spread.alpha > 0].itertuples()
    ]
    body.sort(key=lambda row: float(row[0]))
    caption = (
        f"{architecture}: accuracy of single draws; quantiles inside a seed, averaged over seeds, "
        "and the worst draw of any seed"
    )
    header = ["α", "Regime", "5%", "median", "95%", "worst", "n seeds / draws in all"]
    return Table(caption, header, body)


def curvature_tables(
    rows: pd.DataFrame, training: pd.DataFrame, traces: pd.DataFrame
) -> list[Table]:
    """Return the curvature term: measured on test images, and on training images beside its
    prediction, with the radius in which that is valid. Tables are empty where nothing was measured.

    Args:
        rows: measurements on the test images.
        training: those on the training images on which the Hessian was probed.
        traces: a row per run, as `curvature.compare` takes it.
    """
    measured = stats.over_seeds(curvature.curvature_term(rows), "even").reset_index()
    found = curvature.compare(curvature.curvature_term(training), traces)
    who = "{0.architecture}, {0.regime}".format
    compared = [
        [
            who(row),
            f"{row.alpha:g}",
            with_half({"x": row.measured, "half": row.measured_half}, "x", 1, ".3g"),
            with_half({"x": row.predicted, "half": row.predicted_half}, "x", 1, ".3g"),
            f"{row.probe_error:.2g}",
            f"{row.ratio:.2f}",
            f"{row.seeds} / {row.pairs}",
        ]
        for row in found.itertuples()
    ]
    radii = []
    for (name, regime), part in found.groupby(["architecture", "regime"], observed=True):
        low, high = curvature.validity_radius(part.alpha, part.predicted, part.measured)
        radii.append([f"{name}, {regime}", f"{low:g}" if low == high else f"> {low:g}"])
    loss = "½[L(W+ε) + L(W−ε)] − L(W) in nats, from pairs ±ε"
    return [
        Table(
            f"Curvature term of the test loss, {loss}; mean over seeds ± half-width",
            ["Runs", "α", "Measured", "n seeds"],
            [
                [
                    who(r),
                    f"{r.alpha:g}",
                    with_half({"x": r.average, "half": r.half}, "x", 1, ".3g"),
                    f"{r.seeds}",
                ]
                for r in measured.rename(columns={"mean": "average"}).itertuples()
            ],
        ),
        Table(
            f"Curvature term of the training loss, {loss}, beside the second-order prediction "
            "½ α² Σ s² tr(H) from Hutchinson probes on the same images; mean over seeds ± "
            "half-width",
            ["Runs", "α", "Measured", "Predicted", "Error of probes", "Ratio", "n seeds / pairs"],
            compared,
        ),
        Table(
            "Radius of validity: the first α at which prediction / measurement leaves [0.5, 2]",
            ["Runs", "α"],
            radii,
        ),
    ]


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
