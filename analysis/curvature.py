"""The loss around trained weights, by pairs ±ε, beside its Hessian. Pure functions of rows.

To second order L(W + ε) = L(W) + gᵀε + ½ εᵀHε, and pairs ±ε measure both terms apart. The even one
is predicted, draw by draw, by ½ α² zᵀSHSz of the same draw: what then differs is no luck of the
draw. `flatness` makes of them what is said of a model. `rows` are those of `intervals`. No torch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.intervals import RUN, half_width

PAIR = [*RUN, "alpha", "draw"]
"""Columns that name a pair ±ε."""


def totals(forms: Mapping[str, Sequence[float | None]]) -> np.ndarray:
    """Return zᵀSHSz of each draw, (draws,), in nats; NaN where a number is not finite.

    Their mean estimates Σ s² tr(H_ll) (Hutchinson, 1990).

    Args:
        forms: by parameter, its share for each draw, as from `hessian.quadratic_forms`.
    """
    return np.array(list(forms.values()), dtype=float).sum(axis=0)  # (parameters, draws) → sums


def pair_terms(rows: pd.DataFrame, forms: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the even and the odd part of the loss around the weights, of every pair ±ε.

    even = ½[L(W+ε) + L(W−ε)] − L(W): the curvature term, ½ εᵀHε to second order;
    odd = ½[L(W+ε) − L(W−ε)]: the linear term, gᵀε to second order.

    Args:
        rows: draws that lack one of their signs are no pairs.
        forms: a row per run and draw: `RUN`, draw, form (zᵀSHSz, nats).

    Returns:
        A row per run, α > 0 and draw: `PAIR`, even, odd and predicted (½ α² zᵀSHSz, NaN where there
        is no form), in nats, means over the images.
    """
    rows = rows.assign(loss=rows.loss / rows.total)
    plus, minus = (rows.loc[rows.sign == s, [*PAIR, "loss"]] for s in (1, -1))
    start = plus.loc[plus.alpha == 0, [*RUN, "loss"]]
    pairs = plus.merge(minus, on=PAIR, suffixes=("", "_minus"))
    pairs = pairs.merge(start, on=RUN, suffixes=("", "_start")).sort_values(PAIR)
    pairs["even"] = (pairs.loss + pairs.loss_minus) / 2 - pairs.loss_start
    pairs["odd"] = (pairs.loss - pairs.loss_minus) / 2
    if forms is None:
        pairs["predicted"] = np.nan
    else:
        pairs = pairs.merge(forms, on=[*RUN, "draw"], how="left")
        pairs["predicted"] = pairs.alpha**2 * pairs.form / 2
    return pairs[[*PAIR, "even", "odd", "predicted"]].reset_index(drop=True)


def curvature_term(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the means over pairs, with what they leave open.

    Args:
        pairs: from `pair_terms`.

    Returns:
        A row per run and α: `RUN`, alpha, pairs, even, odd, predicted, and even_half, odd_half,
        predicted_half (95% t-intervals over the pairs, the independent units), in nats. NaN where
        one pair is not finite.
    """
    groups = pairs.groupby([*RUN, "alpha"], observed=True)
    out = groups.agg(pairs=("draw", "size"))
    for name in ("even", "odd", "predicted"):  # a loss that is not finite leaves nothing to average
        out[name] = groups[name].agg(lambda x: x.mean(skipna=False))
        out[f"{name}_half"] = groups[name].agg(half_width)
    return out.reset_index()


def rise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the loss on the test images rises by: `RUN`, alpha, rise (nats, mean over +ε)."""
    plus = rows[rows.sign > 0].assign(loss=rows.loss / rows.total)
    groups = plus.groupby([*RUN, "alpha"], observed=True).loss
    means = groups.agg(lambda x: x.mean(skipna=False)).reset_index()
    start = means.loc[means.alpha == 0, [*RUN, "loss"]]
    out = means[means.alpha > 0].merge(start, on=RUN, suffixes=("", "_start"))
    out["rise"] = out.loss - out.loss_start
    return out[[*RUN, "alpha", "rise"]]
