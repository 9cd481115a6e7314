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
    out["mean"] = out["mean"].round(12)  # a count over a total, and not a rounding error beside it
    out["half"] = [half_width(part, floor, LEVEL) for _, part in groups.value]
    return out.assign(low=out["mean"] - out.half, high=out["mean"] + out.half)


def breaks(rows: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Return where each run breaks: `RUN`, draws, start, chance, last, mean, low, high, beyond.

    That is halfway from its accuracy without noise (start) to chance, linear in log α. The
    geometric mean is over the breaks of the draws, with its 95% t-interval; where some draws stand
    more than the largest strength that all have (last; beyond = how many), it is read from the mean
    over draws, without an interval, and is NaN where that is still above.
    """
    found = []
    for run, part in rows[rows.sign > 0].groupby(RUN, observed=True):
        table, start = _curves(part)
        last = float(table.index.max()) if len(table) else np.nan
        alpha, level = table.index.to_numpy(float), (start + chance) / 2
        ends = [*_ends(table, level).values()]
        beyond = sum(high == np.inf for _, high in ends)
        if len(table) and start > chance and all(low == high for low, high in ends):
            logs = np.log([low for low, _ in ends])
            half = half_width(logs)
            edges = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
        else:
            low, high = crossing(alpha, table.mean(axis=1).to_numpy(float), level)
            edges = (low if low == high and start > chance else np.nan, np.nan, np.nan)
        found.append((*run, table.shape[1], start, chance, last, *edges, beyond))
    columns = [*RUN, "draws", "start", "chance", "last", "mean", "low", "high", "beyond"]
    return pd.DataFrame(found, columns=columns).astype({n: rows[n].dtype for n in RUN})


def tolerances(rows: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Return how many times as much noise each run stands as the baseline's run of its seed:
    `RUN`, draws, mean, low, high.

    The ratio of their breaks, draw by draw: the two have the same unit noise. The geometric mean is
    over draws, with its 95% t-interval; a run whose draws, or its partner's, do not all break where
    both were measured has no row.
    """
    breaking = {}
    for run, part in rows[rows.sign > 0].groupby(RUN, observed=True):
        table, start = _curves(part)
        ends = _ends(table, (start + chance) / 2) if start > chance else {}
        if ends and all(low == high for low, high in ends.values()):
            breaking[run] = pd.Series({draw: np.log(low) for draw, (low, _) in ends.items()})
    baseline, found = baseline_of(rows), []
    for (name, regime, seed), logs in breaking.items():
        if regime != baseline and (base := breaking.get((name, baseline, seed))) is not None:
            logs = (logs - base).dropna()
            half = half_width(logs)
            edges = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
            found.append((name, regime, seed, len(logs), *edges))
    table = pd.DataFrame(found, columns=[*RUN, "draws", "mean", "low", "high"])
    return table.astype({n: rows[n].dtype for n in RUN})


def _curves(part: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return the accuracy of a run by α > 0 and draw, and that without noise."""
    table = part.assign(value=part.correct / part.total).pivot(
        index="alpha", columns="draw", values="value"
    )
    start = float(table.loc[0.0, 0]) if 0.0 in table.index else np.nan
    return table[table.index > 0].dropna(), start


def _ends(table: pd.DataFrame, level: float) -> dict[int, tuple[float, float]]:
    """Return of each draw the bounds of the α at which it falls to a level: see `crossing`."""
    alpha = table.index.to_numpy(float)
    return {draw: crossing(alpha, table[draw].to_numpy(float), level) for draw in table}
