"""What explains a fall: curvature of the loss and single layers. Pure functions of rows. No torch.

To second order L(W + ε) = L(W) + gᵀε + ½ εᵀHε; for ε ~ N(0, (α·s)²) per tensor its mean over ε is
L(W) + ½ α² Σ s² tr(H_ll). Pairs ±ε measure both terms apart. `rows` are those of `intervals`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.curves import NOT_KNOWN, Bounds
from analysis.intervals import GROUP, RUN, over_seeds, t_factor


def curvature_term(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the even and the odd part of the loss around the weights, from pairs ±ε.

    even = ½[L(W+ε) + L(W−ε)] − L(W): the curvature term, ½ εᵀHε to second order;
    odd = ½[L(W+ε) − L(W−ε)]: the linear term, gᵀε to second order.

    Returns:
        A row per run and α > 0, over its pairs (draws that have both signs): pairs, even, odd,
        and even_half, odd_half (95% t-intervals over the pairs, the independent units). Losses
        are means over the images, in nats. Empty where no −ε was measured.
    """
    rows = rows.assign(loss=rows.loss / rows.total)
    key = [*RUN, "alpha", "draw"]
    plus, minus = (rows.loc[rows.sign == s, [*key, "loss"]] for s in (1, -1))
    start = plus.loc[plus.alpha == 0, [*RUN, "loss"]]
    pairs = plus.merge(minus, on=key, suffixes=("", "_minus"))
    pairs = pairs.merge(start, on=RUN, suffixes=("", "_start")).sort_values(key)
    pairs["even"] = (pairs.loss + pairs.loss_minus) / 2 - pairs.loss_start
    pairs["odd"] = (pairs.loss - pairs.loss_minus) / 2
    groups = pairs.groupby([*RUN, "alpha"], observed=True)
    out = groups.agg(pairs=("draw", "size"))
    for name in ("even", "odd"):  # a loss that is not finite leaves nothing to average
        out[name] = groups[name].agg(lambda x: x.mean(skipna=False))
        sd = groups[name].agg(lambda x: x.std(skipna=False))
        out[f"{name}_half"] = t_factor(out.pairs) * sd / np.sqrt(out.pairs)
    return out.reset_index()


def trace(forms: Mapping[str, Sequence[float | None]]) -> tuple[float, float]:
    """Return Σ s² tr(H_ll) and its standard error, from Hutchinson probes.

    Args:
        forms: by parameter, its share of zᵀ S H S z for each probe (as from
            `hessian.quadratic_forms`), in nats.

    Returns:
        The mean over the probes and its standard error, in nats; NaN if a number is not finite,
        and for the error of a single probe.
    """
    totals = np.array(list(forms.values()), dtype=float).sum(axis=0)  # (parameters, probes) → sums
    error = totals.std(ddof=1) / np.sqrt(len(totals)) if len(totals) > 1 else float("nan")
    return float(totals.mean()), float(error)


def compare(terms: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Return the measured curvature term beside ½ α² Σ s² tr(H_ll), over the seeds that have both.

    Args:
        terms: a row per run and α, as from `curvature_term`.
        traces: a row per run: `intervals.RUN`, trace, error (standard error over its probes).

    Returns:
        A row per architecture, regime and α: seeds, pairs (least of a seed), measured and
        predicted (means over seeds, nats) with measured_half and predicted_half (95% t-intervals
        over seeds); what the seeds at hand leave unknown of their own means: pair_half (root of
        the summed squares of their 95% t-intervals over pairs, over their number) and probe_error
        (standard error from the probes); and ratio = predicted / measured.
    """
    table = terms.merge(traces, on=RUN)
    table["predicted"] = table.alpha**2 * table.trace / 2
    table["square"] = table.even_half**2
    table["variance"] = (table.alpha**2 * table.error / 2) ** 2
    groups = table.groupby(GROUP, observed=True)
    measured, predicted = over_seeds(table, "even"), over_seeds(table, "predicted")
    out = pd.DataFrame({"seeds": measured.seeds, "pairs": groups.pairs.min()})
    out["measured"], out["measured_half"] = measured["mean"], measured.half
    out["predicted"], out["predicted_half"] = predicted["mean"], predicted.half
    out["pair_half"] = np.sqrt(groups.square.agg(lambda x: x.sum(skipna=False))) / groups.size()
    out["probe_error"] = np.sqrt(groups.variance.sum()) / groups.size()
    return out.assign(ratio=out.predicted / out.measured).reset_index()


def validity_radius(
    alpha, prediction, measurement, half=None, low: float = 0.5, high: float = 2.0
) -> Bounds:
    """Return the first α at which prediction / measurement leaves [low, high], as bounds.

    Not left: (largest α, inf). A measurement that is not finite or not positive is outside; one
    that its interval does not tell from zero says nothing, and is passed over: at the smallest α
    the term is lost in the rounding of the loss.

    Args:
        alpha, prediction, measurement: (k,) each, in any order.
        half: half-widths of the intervals of the measurements, (k,), NaN where there is none.
        low, high: the ratios that still count as agreement.
    """
    half = np.full(np.shape(alpha), np.nan) if half is None else half
    table = np.array([alpha, prediction, measurement, half], float)  # (4, k)
    table = table[:, ~(np.abs(table[2]) <= table[3])]
    alpha, prediction, measurement, _ = table[:, np.argsort(table[0])]
    if not len(alpha):
        return NOT_KNOWN
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = prediction / measurement
    outside = np.flatnonzero(~((ratio >= low) & (ratio <= high)))
    if not len(outside):
        return float(alpha[-1]), float("inf")
    return (float(alpha[outside[0]]),) * 2
