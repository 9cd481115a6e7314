"""What the statistics answer, as tables and sentences. No torch.

Accuracies and retention are fractions, differences are in points (0.01); "±" is the half-width of
a 95% t-interval over seeds.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals
from analysis.shape import flags_of_pairs
from analysis.verdicts import RESOLVED
from reporting.plots import (
    FEW,
    MANY,
    above_chance,
    looks,
    place,
    set_accuracy_axis,
    set_alpha_axis,
    set_points_axis,
    show_chance,
    side_by_side,
)
from reporting.results import Results
from reporting.scale import find_scale
from reporting.section import Chart, Section
from reporting.text import Table, find, number, span, with_half
from reporting.words import (
    FLAGGED,
    points_of,
    say_factors,
    say_left_out,
    say_verdicts,
    verdict,
)
from store.own import OwnRun


def section(results: Results) -> Section:
    """Return the answer, and accuracy by α with its paired effects."""
    rows, names = results.rows, results.architectures
    flags = flags_of_pairs(results.effects, results.flags)
    effects = results.effects.assign(flags=flags)
    means = intervals.mean_accuracy(rows)
    curves = (rows, intervals.draw_means(rows), means)
    pairs = (rows, effects, intervals.paired(rows))
    charts = {"robustness": Chart("Accuracy against noise strength", draw_curves, curves, names)}
    own = results.plan.kind is OwnRun
    if len(effects) or not own:  # one model is compared with none
        title = "Paired effect of " + ("the regime" if own else "noisy training")
        charts["effects"] = Chart(title, draw_effects, pairs, names)
    return Section(
        "accuracy",
        intro=" ".join((*say_factors(effects), *say_left_out(rows, effects))),
        sentences={name: say_verdicts(effects, name) for name in names},
        by_architecture={name: main_table(means, effects, name) for name in results.measured},
        charts=charts,
        csv={"effects.csv": effects},
    )


def draw_curves(axes: Axes, rows: pd.DataFrame, curves: pd.DataFrame, means: pd.DataFrame) -> None:
    """Draw accuracy against α: every seed faint, the mean bold, its 95% band over seeds.

    All frames are of one architecture: measurements, their means over draws, and over seeds.
    """
    origin = set_alpha_axis(axes, rows.alpha, scale=find_scale(rows))
    bands = False
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
        bands = bands or bool(band.half.notna().any())
    if bands:
        axes.fill_between([], [], [], color="0.5", alpha=0.3, lw=0, label="95% interval over seeds")
    set_accuracy_axis(axes, rows)
    show_chance(axes, rows)
    axes.legend(loc="lower left", bbox_to_anchor=(0, above_chance(axes, rows)))


def draw_effects(
    axes: Axes, rows: pd.DataFrame, effects: pd.DataFrame, seeds: pd.DataFrame
) -> None:
    """Draw the paired effect on accuracy with its simultaneous 95% intervals, and every seed.

    Filled markers are resolved (better or worse), open ones are not; one seed alone has no
    interval, and no marker. All frames are of one architecture: measurements, their paired effects
    over seeds, and of each seed.
    """
    origin = set_alpha_axis(axes, rows.alpha, scale=find_scale(rows))
    axes.axhline(0, color="black", lw=0.8)
    drawn = {r: k for r, k in looks(rows.regime).items() if (effects.regime == r).any()}
    crowded = len(drawn) > FEW // 2
    for (regime, look), shift in zip(drawn.items(), side_by_side(len(drawn)), strict=True):
        mine, dots = effects[effects.regime == regime], seeds[seeds.regime == regime]
        spread = place(dots.alpha, origin) * shift
        seed = {"marker": "_", "linestyle": "", "ms": 7, "alpha": 0.6}
        seed["rasterized"] = len(dots) > MANY
        axes.plot(spread, 100 * dots.accuracy, color=look["color"], **seed)
        mine = mine[mine.half.notna()]
        found = mine.verdict.isin(RESOLVED)
        for resolved, part in mine.groupby(found):
            label = f"{regime} − {intervals.baseline_of(rows)}, n = {mine.seeds.max()}"
            if not crowded:
                label += f", {'resolved' if resolved else 'not resolved'}"
            elif resolved != found.any():
                label = "_"  # one entry for both
            axes.errorbar(
                place(part.alpha, origin) * shift,
                100 * part.effect,
                100 * np.array([part.effect - part.low, part.high - part.effect]),
                fmt=look["marker"],
                color=look["color"],
                mfc=look["color"] if resolved else "white",
                capsize=3,
                label=label,
            )
    if crowded:
        axes.plot([], [], "o", color="0.3", mfc="white", label="open: not resolved")
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


def main_table(
    means: pd.DataFrame,
    effects: pd.DataFrame,
    architecture: str,
    show: Callable[[float], str] = "{:g}".format,
) -> Table:
    """Return absolute accuracy, paired effect, verdict, drop and retention side by side, by α.

    The frames are those of `intervals.mean_accuracy` and `intervals.paired_effects`. Columns of the
    baseline, or of its comparison, stand only where some architecture has them. Where there are
    pairs, only strengths that all of them have are listed; `show` says how one is written.
    """
    regimes, baseline = {*means.regime}, intervals.baseline_of(means)
    has_baseline, has_other = baseline in regimes, bool(regimes - {baseline})
    has_both = has_baseline and has_other
    means, effects = (
        table[table.architecture == architecture].set_index(["regime", "alpha"])
        for table in (means, effects)
    )
    others = [r for r in dict.fromkeys(means.index.get_level_values("regime")) if r != baseline]
    body = []
    listed = effects if len(effects) else means
    for alpha in sorted(listed.index.unique("alpha")):
        for regime in others or [None]:
            sides = [baseline] * has_baseline + [regime] * has_other
            shown = [find(means, (name, alpha)) for name in sides]
            effect = find(effects, (regime, alpha))
            body.append(
                [
                    show(alpha),
                    *([regime] if len(others) > 1 else []),
                    *(with_half(m, "mean") for m in shown),
                    *([points_of(effect)] if has_both else []),
                    *([verdict(effect)] if has_both else []),
                    *(number(m.get("drop"), 2, 100) for m in shown),
                    *(number(m.get("retention"), 3) for m in shown),
                    " / ".join(f"{m.get('seeds', 0):.0f}" for m in (*shown, *[effect] * has_both)),
                    " / ".join(span(m.get("draws_min"), m.get("draws_max")) for m in shown),
                ]
            )
    other = others[0] if len(others) == 1 else "regime"
    sides = [baseline] * has_baseline + [other] * has_other
    header = [
        "α",
        *(["Regime"] if len(others) > 1 else []),
        *(f"Accuracy, {side}" for side in sides),
        *(["Effect (points)", "Verdict"] if has_both else []),
        *(f"Drop, {side} (points)" for side in sides),
        *(f"Retention, {side}" for side in sides),
        "n seeds",
        "n draws",
    ]
    caption = f"{architecture}: mean over seeds ± half-width of the 95% t-interval"
    if has_both:
        caption += (
            f"; effect = {other} − {baseline}, paired by seed, its ± simultaneous over the "
            f"non-zero α ([ ] cut where the word says more), at 0 that of the cost; {FLAGGED} data "
            f"that are flagged; n of {baseline} / {other} / pairs"
        )
    return Table(caption, header, body)
