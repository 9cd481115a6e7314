"""What is known of very models, as pure functions of the measured rows: intervals over draws.

A model that is trained once has no seeds to vary. Its intervals are over noise draws: they hold for
this very model under other noise, and say nothing of another training. `rows` are those of
`intervals`. No torch.
"""

import numpy as np
import pandas as pd

from analysis.curves import crossing
from analysis.intervals import LEVEL, RUN, baseline_of, half_width


def accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and α: `RUN`, alpha, draws, mean, half, low, high.

    The mean is over all images of all +ε draws, ± the half-width of its 95% t-interval over draws;
    NaN with one draw, and so without noise. The standard deviation is at least one image, 1/total.
    """
    plus = rows[rows.sign > 0].assign(value=rows.correct / rows.total)
    return _means(plus, 1 / plus.total.max() if len(plus) else 0.0)


def effects(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the same of the difference of each run from the baseline's run of its seed, draw by
    draw: the two have the same unit noise. Without noise it is one number."""
    plus = rows[rows.sign > 0].assign(value=rows.correct / rows.total)
    baseline, on = baseline_of(rows), ["architecture", "seed", "alpha", "draw"]
    base = plus.loc[plus.regime == baseline, [*on, "value"]]
    both = plus[plus.regime != baseline].merge(base, on=on, suffixes=("", "_base"))
    both["value"] -= both.value_base
    return _means(both, 1 / both.total.max() if len(both) else 0.0)


def _means(table: pd.DataFrame, floor: float) -> pd.DataFrame:
    """Return the mean of `value` over draws with its interval, by run and α."""
    groups = table.sort_values([*RUN, "alpha", "draw"]).groupby([*RUN, "alpha"], observed=True)
    out = groups.value.agg(draws="size", mean="mean").reset_index()
    out["half"] = [half_width(part, floor, LEVEL) for _, part in groups.value]
    return out.assign(low=out["mean"] - out.half, high=out["mean"] + out.half)


def breaks(rows: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Return where each run breaks: `RUN`, draws, start, last, mean, low, high, beyond.

    That is halfway from its accuracy without noise (start) to chance, linear in log α. The
    geometric mean is over the breaks of the draws, with its 95% t-interval; where some draws stand
    more than the largest strength that all have (last; beyond = how many), it is read from the mean
    over draws, without an interval, and is NaN where that is still above.
    """
    found = []
    plus = rows[rows.sign > 0]
    for run, part in plus.groupby(RUN, observed=True):
        table = part.assign(value=part.correct / part.total).pivot(
            index="alpha", columns="draw", values="value"
        )
        start = float(table.loc[0.0, 0]) if 0.0 in table.index else np.nan
        table = table[table.index > 0].dropna()
        last = float(table.index.max()) if len(table) else np.nan
        alpha, level = table.index.to_numpy(float), (start + chance) / 2
        curves = [table[draw].to_numpy(float) for draw in table]
        ends = [crossing(alpha, curve, level) for curve in curves]
        beyond = sum(high == np.inf for _, high in ends)
        if len(table) and start > chance and all(low == high for low, high in ends):
            logs = np.log([low for low, _ in ends])
            half = half_width(logs)
            edges = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
        else:
            low, high = crossing(alpha, table.mean(axis=1).to_numpy(float), level)
            edges = (low if low == high and start > chance else np.nan, np.nan, np.nan)
        found.append((*run, table.shape[1], start, last, *edges, beyond))
    columns = [*RUN, "draws", "start", "last", "mean", "low", "high", "beyond"]
    return pd.DataFrame(found, columns=columns).astype({n: rows[n].dtype for n in RUN})
