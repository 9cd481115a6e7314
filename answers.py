"""What the statistics answer, as tables and sentences. No torch.

Accuracies and retention are fractions, differences are in points (0.01); "±" is the half-width of
a 95% t-interval over seeds.
"""

import itertools

import pandas as pd

import curves
import stats
from tables import NONE, Table, bounds, count, number, span, with_half


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
    header = ["α", "Regime", "5%", "median", "95%", "worst", "n seeds / draws"]
    return Table(caption, header, body)


def say_verdicts(effects: pd.DataFrame, architecture: str) -> list[str]:
    """Return, for each regime of an architecture, the answer in a sentence or two."""
    mine = effects[effects.architecture == architecture]
    return [say_verdict(part) for _, part in mine.groupby("regime", observed=True)]


def say_verdict(effects: pd.DataFrame) -> str:
    """Return the answer for one architecture and regime against the baseline."""
    regime, n = effects.regime.iloc[0], span(effects.seeds.min(), effects.seeds.max())
    noisy, start = effects[effects.alpha > 0], effects[effects.alpha == 0]
    subject = f"Trained {regime} rather than {stats.BASELINE}"
    if effects.seeds.max() < 2:
        return f"{subject}: one paired seed gives no interval, and so no verdict."
    if noisy.empty:
        return f"{subject}: nothing was measured at α > 0."
    parts = []
    for word in (stats.BETTER, stats.WORSE):
        found = noisy[noisy.verdict == word]
        if len(found):
            most = found.loc[found.effect.abs().idxmax()]
            points = points_of(most.effect, most.half)
            where = f"most at {most.alpha:g}: " if len(found) > 1 else ""
            parts.append(f"{word} at {say_alphas(found, noisy)} ({where}{points} points)")
    unresolved = noisy[noisy.verdict == stats.UNRESOLVED]
    if len(unresolved):
        ends = [f"{100 * half:.2f}" for half in (unresolved.half.min(), unresolved.half.max())]
        seen = f"± {' to '.join(dict.fromkeys(ends))} points"
        if unresolved.half.isna().any():
            seen = "one seed only, or " + seen if unresolved.half.notna().any() else "one seed only"
        parts.append(f"unresolved at {say_alphas(unresolved, noisy)} ({seen})")
    text = f"{subject}, accuracy is {'; '.join(parts)}."
    if len(start):
        first = start.iloc[0]
        points = points_of(first.effect, first.half)
        text += f" Without noise (α = 0): {points} points, {first.verdict}."
    return f"{text} n = {n} paired seeds, {span_draws(noisy)} draws each."


def say_alphas(some: pd.DataFrame, every: pd.DataFrame) -> str:
    """Return the α of some effects in words: a range where three or more are neighbours."""
    chosen, grid = set(some.alpha), sorted(every.alpha)
    if len(some) == len(every) > 1:
        return f"every α from {grid[0]:g} to {grid[-1]:g}"
    parts = []
    for is_in, group in itertools.groupby(grid, chosen.__contains__):
        neighbours = [f"{alpha:g}" for alpha in group]
        if len(neighbours) > 2:
            neighbours = [f"{neighbours[0]} to {neighbours[-1]}"]
        parts += neighbours if is_in else []
    return "α = " + ", ".join(parts)


def points_of(effect: float, half: float) -> str:
    """Return an effect in points with its half-width."""
    return with_half({"x": effect, "half": half}, "x", 100, "+.2f")


def span_draws(effects: pd.DataFrame) -> str:
    """Return the numbers of draws that pairs have in common."""
    return span(effects.draws.min(), effects.draws.max())


def say_factors(effects: pd.DataFrame) -> list[str]:
    """Return how wide simultaneous intervals are, for each n of seeds and size of family."""
    noisy = effects[(effects.alpha > 0) & (effects.seeds > 1)]
    cases = noisy[["seeds", "comparisons", "factor"]].drop_duplicates().sort_values("seeds")
    return [
        f"With {case.seeds} seeds, an interval simultaneous over {case.comparisons} strengths is "
        f"± {case.factor:.1f} standard errors of the mean; one by itself would be "
        f"± {float(stats.t_factor(case.seeds)):.1f}."
        for case in cases.itertuples()
    ]
