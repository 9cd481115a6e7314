"""What the statistics answer, as tables and sentences. No torch.

Accuracies and retention are fractions, differences are in points (0.01); "±" is the half-width of
a 95% t-interval over seeds.
"""

import itertools

import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals
from reporting.plots import MANY, looks, place, set_accuracy_axis, set_alpha_axis, set_points_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import NONE, Table, find, number, span, with_half


def section(results: Results) -> Section:
    """Return the answer, and accuracy by α with its paired effects."""
    rows, effects, names = results.rows, results.effects, results.architectures
    means = intervals.mean_accuracy(rows)
    curves = (rows, intervals.draw_means(rows), means)
    pairs = (rows, effects, intervals.paired(rows))
    return Section(
        "accuracy",
        intro=" ".join(say_factors(effects)),
        sentences={name: say_verdicts(effects, name) for name in names},
        by_architecture={name: main_table(means, effects, name) for name in results.measured},
        charts={
            "robustness": Chart("Accuracy against noise strength", draw_curves, curves, names),
            "effects": Chart("Paired effect of noisy training", draw_effects, pairs, names),
        },
        csv={"effects.csv": effects},
    )


def draw_curves(axes: Axes, rows: pd.DataFrame, curves: pd.DataFrame, means: pd.DataFrame) -> None:
    """Draw accuracy against α: every seed faint, the mean bold, its 95% band over seeds.

    All frames are of one architecture: measurements, their means over draws, and over seeds.
    """
    origin = set_alpha_axis(axes, rows.alpha)
    for regime, look in looks(rows.regime).items():
        mean = means[means.regime == regime].set_index("alpha")
        if mean.empty:
            continue
        seeds = curves[curves.regime == regime].pivot(
            index="alpha", columns="seed", values="accuracy"
        )
        for seed in seeds:
            draw_line(axes, seeds[seed].dropna(), origin, {**look, "marker": "_"}, 0.8, alpha=0.4)
        # a mean over fewer seeds would bend the curve: it stands only where all are there
        whole = mean["mean"].where(mean.seeds == seeds.shape[1])
        label = f"{regime} (mean, n = {seeds.shape[1]} seeds)".replace("1 seeds", "1 seed")
        draw_line(axes, whole, origin, look, 2, label=label)
        band = mean.where(whole.notna())
        edge, band = band[band.index == 0], band[band.index > 0]
        axes.fill_between(band.index, band.low, band.high, color=look["color"], alpha=0.15, lw=0)
        bars = {"fmt": "none", "ecolor": look["color"], "elinewidth": 1, "capsize": 2}
        axes.errorbar([origin] * len(edge), edge["mean"], edge.half, **bars)
    set_accuracy_axis(axes, rows)
    axes.legend(loc="lower left")


def draw_effects(
    axes: Axes, rows: pd.DataFrame, effects: pd.DataFrame, seeds: pd.DataFrame
) -> None:
    """Draw the paired effect on accuracy with its simultaneous 95% intervals, and every seed.

    Filled markers are resolved (better or worse), open ones are not; one seed alone has no
    interval, and no marker. All frames are of one architecture: measurements, their paired effects
    over seeds, and of each seed.
    """
    origin = set_alpha_axis(axes, rows.alpha)
    axes.axhline(0, color="black", lw=0.8)
    for i, (regime, look) in enumerate(looks(rows.regime).items()):
        mine, dots = effects[effects.regime == regime], seeds[seeds.regime == regime]
        if mine.empty:
            continue
        shift = 1.05 ** (i - 1)  # regimes side by side
        spread = place(dots.alpha, origin) * shift
        seed = {"marker": "_", "linestyle": "", "ms": 7, "alpha": 0.6}
        seed["rasterized"] = len(dots) > MANY
        axes.plot(spread, 100 * dots.accuracy, color=look["color"], **seed)
        mine = mine[mine.half.notna()]
        for resolved, part in mine.groupby(mine.verdict != intervals.UNRESOLVED):
            label = f"{regime} − {intervals.baseline_of(rows)}, n = {mine.seeds.max()}"
            axes.errorbar(
                place(part.alpha, origin) * shift,
                100 * part.effect,
                100 * part.half,
                fmt=look["marker"],
                color=look["color"],
                mfc=look["color"] if resolved else "white",
                capsize=3,
                label=f"{label}, {'resolved' if resolved else intervals.UNRESOLVED}",
            )
    set_points_axis(axes, "effect")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left")
    if effects.empty:
        axes.text(0.5, 0.6, "no paired runs yet", ha="center", transform=axes.transAxes)


def draw_line(
    axes: Axes, curve: pd.Series, origin: float, look: dict, width: float, label="_", alpha=1.0
) -> None:
    """Draw a curve over its α > 0, joined, and its value at α = 0 as a point at `origin`."""
    noisy, zero = curve[curve.index > 0], curve[curve.index == 0]
    line = {**look, "marker": ""} if look["marker"] == "_" else look
    axes.plot(noisy.index, noisy.to_numpy(), **line, lw=width, label=label, alpha=alpha)
    still = {**look, "linestyle": ""}
    axes.plot([origin] * len(zero), zero.to_numpy(), **still, alpha=alpha)


def main_table(means: pd.DataFrame, effects: pd.DataFrame, architecture: str) -> Table:
    """Return absolute accuracy, paired effect, verdict, drop and retention side by side, by α.

    The frames are those of `intervals.mean_accuracy` and `intervals.paired_effects`.
    """
    baseline = intervals.baseline_of(means)
    means, effects = (
        table[table.architecture == architecture].set_index(["regime", "alpha"])
        for table in (means, effects)
    )
    others = [r for r in dict.fromkeys(means.index.get_level_values("regime")) if r != baseline]
    body = []
    for alpha in sorted(means.index.unique("alpha")):
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


def verdict(effect: dict) -> str:
    """Return the verdict word of an effect; an unresolved one with what could not be seen."""
    if not effect:
        return NONE
    if effect["verdict"] != intervals.UNRESOLVED:
        return effect["verdict"]
    half = f"± {100 * effect['half']:.2f}" if effect["seeds"] > 1 else "one seed"
    return f"{intervals.UNRESOLVED} ({half})"


def say_verdicts(effects: pd.DataFrame, architecture: str) -> list[str]:
    """Return, for each regime of an architecture, the answer in a sentence or two."""
    mine = effects[effects.architecture == architecture]
    return [say_verdict(part) for _, part in mine.groupby("regime", observed=True)]


def say_verdict(effects: pd.DataFrame) -> str:
    """Return the answer for one architecture and regime against the baseline."""
    regime, n = effects.regime.iloc[0], span(effects.seeds.min(), effects.seeds.max())
    noisy, start = effects[effects.alpha > 0], effects[effects.alpha == 0]
    subject = f"Trained {regime} rather than {intervals.baseline_of(effects)}"
    if effects.seeds.max() < 2:
        return f"{subject}: one paired seed gives no interval, and so no verdict."
    if noisy.empty:
        return f"{subject}: nothing was measured at α > 0."
    parts = []
    for word in (intervals.BETTER, intervals.WORSE):
        found = noisy[noisy.verdict == word]
        if len(found):
            most = found.loc[found.effect.abs().idxmax()]
            points = points_of(most.effect, most.half)
            where = f"most at {most.alpha:g}: " if len(found) > 1 else ""
            parts.append(f"{word} at {say_alphas(found, noisy)} ({where}{points} points)")
    unresolved = noisy[noisy.verdict == intervals.UNRESOLVED]
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
        f"± {float(intervals.t_factor(case.seeds)):.1f}."
        for case in cases.itertuples()
    ]
