"""The picture of cost against tolerance: every method with both intervals, and the front. No torch.

Names stand in a column beside the points, in their order, with a thin line to each: so many names
would cover one another among the points, and a legend of so many markers is not read.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.endpoints import COST, TOLERANCE
from reporting.plots import looks

CAPTION = (
    "further left costs less, further up stands more; bars are the 95% intervals that hold "
    "together, those that leave the picture go on; arrows: only a bound is known (where nothing "
    "is, nothing is drawn); filled and joined by the line: the front"
)
GREY = "#888888"
APART = 0.11
"""Least distance of two ticks, of the axis."""
COSTS = (0, 1, 10, -1, -10, 100, 3, 30, -3, -30, 0.5, -0.5, 2, 5, 20, 50, 0.2, -0.2, 0.1, -0.1)
RATIOS = (1, 2, 0.5, 1.5, 0.7, 5, 0.2, 10, 0.1, 3, 0.3, 100, 0.01, 1e3, 1e-3, 1.2, 0.8, 1.1, 0.9)
"""Ticks, the most wanted first."""
PLACES = ["regime", "x", "x_low", "x_high", "y", "y_low", "y_high", "bound"]
MOST_NAMES = 24
"""Names that stand apart; of more methods only those on the front are named."""
LEAST_RATIO = 1.1
"""The picture shows at least this ratio above and below its points."""


def draw_front(baseline: str, axes: Axes, ends: pd.DataFrame, ranks: pd.DataFrame) -> None:
    """Draw the methods of one architecture.

    Args:
        baseline: what cost and tolerance are relative to; it stands at cost 0, tolerance 1.
        axes: where to.
        ends: cost and tolerance against the baseline, as from `endpoints.endpoints`.
        ranks: as from `ranking.ranking`; who is on the front. Empty where there is one seed.
    """
    table = positions(ends)
    here = pd.DataFrame([{"regime": baseline, "x": 0.0, "y": 1.0, "bound": ""}])
    table = pd.concat([here, table], ignore_index=True).astype({"x": float, "y": float})
    front = set(ranks[ranks.on_front].regime)
    styles = looks(ends.regime)
    set_limits(axes, table)
    axes.axvline(0, color=GREY, lw=0.6)
    axes.axhline(1, color=GREY, lw=0.6)
    for row in table.itertuples():
        style = styles[row.regime]
        color, filled = style["color"], row.regime in front
        if row.regime != baseline:
            draw_bars(axes, row, color)
        axes.plot(
            *(row.x, row.y, style["marker"]),
            color=color,
            mfc=color if filled else "white",
            ms=5,
            zorder=4,
        )
        if row.bound:
            away = (0, 14 if row.bound == "^" else -14)
            arrow = {"arrowstyle": "<-", "color": color}
            where = {"xytext": away, "textcoords": "offset points"}
            axes.annotate("", (row.x, row.y), **where, arrowprops=arrow)
    draw_steps(axes, table[table.regime.isin(front)])
    draw_names(axes, table, front)
    axes.set_xlabel(f"cost (points below {baseline}, log beyond ±1)")
    axes.set_ylabel(f"tolerance (α₅₀ / that of {baseline})")


def positions(ends: pd.DataFrame) -> pd.DataFrame:
    """Return a row per method: x (cost), y (tolerance), the ends of both intervals, and bound: "^"
    where only a lower bound of the tolerance is known, "v" where only an upper one."""
    out = []
    for regime, part in ends.groupby("regime", observed=True):
        both = part.set_index("endpoint")
        cost, ratio = both.loc[COST], both.loc[TOLERANCE]
        low, high = ratio.value_low, ratio.value_high
        known_low, known_high = low > 0, np.isfinite(high)
        if not (np.isfinite(cost.value_low) and (known_low or known_high)):
            continue
        row = {"regime": regime, "x": cost.value_low, "x_low": cost.low, "x_high": cost.high}
        row["bound"] = "" if low == high else "^" if known_low else "v"
        row["y"] = low if known_low else high
        row["y_low"] = ratio.low if ratio.low > 0 else 0.0
        row["y_high"] = ratio.high
        out.append(row)
    return pd.DataFrame(
        out, columns=["regime", "x", "x_low", "x_high", "y", "y_low", "y_high", "bound"]
    )


def set_limits(axes: Axes, table: pd.DataFrame) -> None:
    """Make room for all points and for bars that are about as long as the points are apart.

    Cost is linear to ± 1 point and logarithmic beyond, so that one bad method hides none.
    """
    axes.set_xscale("symlog", linthresh=1)
    forth = axes.xaxis.get_transform().transform
    back = axes.xaxis.get_transform().inverted().transform
    low, high = forth(np.array([table.x.min(), table.x.max()]))
    spread = max(high - low, 0.2)
    axes.set_xlim(back(np.array([low - 0.4 * spread, high + 0.4 * spread])))
    ticks = spaced(COSTS, forth, axes.get_xlim())
    axes.set_xticks(ticks, [f"{x:g}".replace("-", "−") for x in ticks])
    axes.set_xticks([], minor=True)
    low, high = np.log([table.y.min(), table.y.max()])
    spread = max(high - low, np.log(LEAST_RATIO))
    axes.set_yscale("log")
    axes.set_ylim(*np.exp([low - 0.4 * spread, high + 0.4 * spread]))
    ticks = spaced(RATIOS, np.log, axes.get_ylim())
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def spaced(wanted: tuple[float, ...], place: Callable, limits: tuple[float, float]) -> list[float]:
    """Return those of the wanted ticks, the most wanted first, that stand apart on an axis.

    Args:
        wanted: values of ticks.
        place: from values to where they stand, in any unit.
        limits: of the axis, in values.
    """
    low, high = place(np.array(limits, float))
    kept: dict[float, float] = {}
    for tick in wanted:
        at = (place(np.array([tick], float))[0] - low) / (high - low)
        if 0 <= at <= 1 and all(abs(at - other) >= APART for other in kept.values()):
            kept[tick] = at
    return sorted(kept)


def draw_bars(axes: Axes, row, color: str) -> None:
    """Draw both intervals of a method, as far as they are known."""
    thin = {"color": color, "lw": 0.9, "alpha": 0.7}
    if np.isfinite([row.x_low, row.x_high]).all():
        axes.plot([row.x_low, row.x_high], [row.y, row.y], **thin)
    if not np.isnan([row.y_low, row.y_high]).any():
        low, high = axes.get_ylim()
        axes.plot([row.x] * 2, [max(row.y_low, low / 10), min(row.y_high, high * 10)], **thin)


def draw_steps(axes: Axes, front: pd.DataFrame) -> None:
    """Join the methods of the front: below and right of the steps is what they dominate."""
    ordered = front.sort_values(["x", "y"])
    if len(ordered) > 1:
        axes.plot(ordered.x, ordered.y, color="black", lw=1, drawstyle="steps-post", zorder=3)


def draw_names(axes: Axes, table: pd.DataFrame, front: set[str]) -> None:
    """Write the names right of the picture, in the order of their points, apart from each other."""
    ordered = table.sort_values(["y", "x"])
    if len(ordered) > MOST_NAMES:
        ordered = ordered[ordered.regime.isin(front)][-MOST_NAMES:]
    low, high = np.log(axes.get_ylim())
    wanted = (np.log(ordered.y.to_numpy()) - low) / (high - low)  # of the height
    places = apart(wanted, min(1 / max(len(ordered) - 1, 1), 0.075))
    size = 7 if len(ordered) <= 12 else 6
    leader = {"arrowstyle": "-", "lw": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 3}
    leader["relpos"] = (0, 0.5)  # it leaves a name at its left
    for row, place in zip(ordered.itertuples(), places, strict=True):
        bold = "bold" if row.regime in front else "normal"
        axes.annotate(
            row.regime,
            xy=(row.x, row.y),
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=size,
            fontweight=bold,
            va="center",
            annotation_clip=False,
            arrowprops=leader,
        )


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Return places in [0, 1], in order and at least `gap` apart, near ascending wanted ones."""
    places = wanted.astype(float).copy()
    for n in range(1, len(places)):
        places[n] = max(places[n], places[n - 1] + gap)
    places = np.minimum(places, 1 - gap * np.arange(len(places))[::-1])
    return np.maximum(places, gap * np.arange(len(places)))
