"""What noise in each parameter tensor alone does: rows of one model in, a table out. No torch."""

import pandas as pd

from analysis.intervals import half_width


def by_layer(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what noise in each parameter tensor alone does to one model.

    Args:
        rows: a row per measurement of one checkpoint: parameter (its name; "" for all of them
            together), alpha, draw, correct, total, loss (summed); α = 0 once, under "".

    Returns:
        A row per α and parameter: draws, loss (mean increase, nats), loss_half, drop (of accuracy),
        drop_half; and a row per α: draws, layers (the sum of the increases), whole, residual
        (layers − whole, zero to second order in expectation), layers_half, residual_half.
        Intervals are 95% t-intervals over draws, which all parameters share; a loss is NaN where
        that of any draw is.
    """
    rows = rows.assign(loss=rows.loss / rows.total, accuracy=rows.correct / rows.total)
    start = rows[rows.alpha == 0].iloc[0]
    rows = rows[rows.alpha > 0].sort_values(["alpha", "parameter", "draw"])
    rows = rows.assign(loss=rows.loss - start.loss, drop=start.accuracy - rows.accuracy)
    floor = 1 / start.total

    groups = rows.groupby(["alpha", "parameter"], sort=False)
    table = groups.agg(
        draws=("draw", "size"),
        loss=("loss", lambda x: x.mean(skipna=False)),
        loss_half=("loss", half_width),
        drop=("drop", "mean"),
        drop_half=("drop", lambda x: half_width(x, floor)),
    )
    wide = rows.pivot(index=["alpha", "draw"], columns="parameter", values="loss")
    layers = wide.drop(columns="").sum(axis=1, skipna=False)
    sums = pd.DataFrame({"layers": layers, "whole": wide[""], "residual": layers - wide[""]})
    groups = sums.groupby("alpha")
    total = groups.agg(lambda x: x.mean(skipna=False))
    total.insert(0, "draws", groups.size())
    for name in ("layers", "residual"):
        total[f"{name}_half"] = groups[name].agg(half_width)
    return table.reset_index(), total.reset_index()
