"""Intervals and verdicts, as pure functions of the measured rows. No torch.

Every function takes `rows`: a frame with a row per measurement and the columns `architecture,
regime, seed, alpha, draw, sign, correct, total, loss`, where `correct` of `total` test images were
answered right and `loss` is summed over them (NaN where it is not finite). Accuracies are
fractions. Results do not depend on the order of the rows.

There are two levels of variation, and they are never pooled: noise draws are averaged inside a
seed, and seeds (independently trained models, each with its own draws) are the units of every
interval. Only +ε rows enter accuracies; −ε rows serve `curvature.curvature_term` alone.

The standard deviation over seeds is taken as at least what it cannot be less than:

- one test image, 1/total: accuracies are counts, and a few equal counts do not mean that there is
  no variation. Without this floor the simultaneous intervals of 3 seeds and 11 α call a difference
  that is not there in up to 27% of experiments whose true spread is below one image; with it, in
  less than 5% (`tests/test_intervals.py` simulates it);
- the spread of draws within seeds / √draws: seeds that happen to agree, where their draws do not,
  are luck. Of a difference it is that of the paired draws, or that of the two runs as if theirs
  were independent, whichever is more: where draws have two peaks, the few in which one run falls
  and the other does not may all be missing (`benchmarks/STATISTICS.md` has what this gains).

Intervals over seeds cover what they say for values that are about normal. Seeds that collapse and
skewed draws break that, and a few seeds need not show it: `shape` flags what is seen of it, and
`benchmarks/STATISTICS.md` says how far the numbers can then be trusted.
"""

import numpy as np
import pandas as pd

from analysis.verdicts import LEVEL, judge, t_factor

RUN = ["architecture", "regime", "seed"]
"""Columns that name a run."""
GROUP = ["architecture", "regime", "alpha"]
"""Columns that name a row of a table over seeds."""
BASELINE = "clean"
"""The regime that others are compared with, where a table does not say another."""


def baseline_of(table: pd.DataFrame) -> str:
    """Return the regime that the others of a table are compared with: the first in table order,
    which its column of categories has; else `BASELINE`."""
    regimes = table.regime
    return regimes.cat.categories[0] if hasattr(regimes, "cat") else BASELINE


def half_width(values, floor: float = 0.0, level: float = LEVEL) -> float:
    """Return the half-width of the t-interval of the mean of independent values, (n,).

    `floor` is the least standard deviation to take (1/total for accuracies). NaN for n < 2.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return float("nan")
    sd = max(float(values.std(ddof=1)), floor)
    return float(t_factor(len(values), level=level) * sd / np.sqrt(len(values)))


def draw_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and α: accuracy and loss over all images of all its +ε draws.

    Columns: `RUN`, alpha, draws (their number), images (in the test set), accuracy, within (the
    variance that draws leave of it: theirs / their number, NaN for one), loss (NaN if any draw's
    is), drop = accuracy(0) − accuracy(α), retention = accuracy(α) / accuracy(0); the
    last two are NaN where α = 0 was not measured.
    """
    plus = rows[rows.sign > 0].sort_values([*RUN, "alpha", "draw"])
    plus = plus.assign(fraction=plus.correct / plus.total)
    groups = plus.groupby([*RUN, "alpha"], observed=True)
    table = groups.agg(
        draws=("draw", "size"),
        images=("total", "max"),
        accuracy=("correct", "sum"),
        within=("fraction", "var"),
        loss=("loss", "sum"),
        finite=("loss", "count"),
        total=("total", "sum"),
    ).reset_index()
    table["accuracy"] = table.accuracy / table.total
    table["within"] /= table.draws
    table["loss"] = (table.loss / table.total).where(table.finite == table.draws)
    start = table[table.alpha == 0][[*RUN, "accuracy"]].rename(columns={"accuracy": "start"})
    table = table.merge(start, on=RUN, how="left")
    table["drop"] = table.start - table.accuracy
    table["retention"] = table.accuracy / table.start.where(table.start > 0)
    return table.drop(columns=["finite", "total", "start"])


def over_seeds(table: pd.DataFrame, value: str, floor=0.0) -> pd.DataFrame:
    """Return a row per `GROUP`: the mean of a column over seeds with its t-interval.

    Args:
        table: a row per run and α.
        value: the column; rows where it is NaN do not count as seeds.
        floor: least standard deviation over seeds, one number or a Series indexed by `GROUP`.

    Returns:
        A frame indexed by `GROUP` with seeds (their number), mean, sd (at least `floor`), factor
        (of the standard error), half, low, high; all but the mean are NaN with one seed.
    """
    groups = table.sort_values([*GROUP, "seed"]).groupby(GROUP, observed=True)[value]
    out = groups.agg(seeds="count", mean="mean", sd="std")
    if isinstance(floor, pd.Series):
        floor = floor.reindex(out.index)
    out["sd"] = out.sd.where(~(out.sd < floor), floor)
    out["factor"] = t_factor(out.seeds)
    out["half"] = out.factor * out.sd / np.sqrt(out.seeds)
    return out.assign(low=out["mean"] - out.half, high=out["mean"] + out.half)


def least_spread(table: pd.DataFrame) -> pd.Series:
    """Return the least standard deviation over seeds of a mean accuracy, by `GROUP`.

    One image, or what the draws leave: the root of the mean over seeds of their variance / draws.

    Args:
        table: a row per run and α with the columns images and within.
    """
    groups = table.groupby(GROUP, observed=True)
    return np.maximum(1 / groups.images.max(), np.sqrt(groups.within.mean().fillna(0)))


def mean_accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracy per architecture, regime and α with a 95% t-interval over seeds.

    Beside the columns of `over_seeds` (each interval by itself): draws (least and most per seed),
    and the means over seeds of drop, retention and loss.
    """
    table = draw_means(rows)
    groups = table.groupby(GROUP, observed=True)
    out = over_seeds(table, "accuracy", floor=least_spread(table))
    out["draws_min"], out["draws_max"] = groups.draws.min(), groups.draws.max()
    for name in ("drop", "retention", "loss"):
        out[name] = over_seeds(table, name)["mean"]
    return out.reset_index()


def spread_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how the column `value` of single draws spreads, per architecture, regime and α.

    Columns: seeds, draws (of all seeds), q05, q50, q95 (quantiles over the draws inside a seed,
    then averaged over seeds) and lowest (the worst draw of any seed).
    """
    rows = rows.sort_values([*RUN, "alpha", "draw"])
    inside = rows.groupby([*RUN, "alpha"], observed=True).value
    levels = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
    quantiles = pd.DataFrame({name: inside.quantile(level) for name, level in levels.items()})
    groups = rows.groupby(GROUP, observed=True)
    out = pd.DataFrame({"seeds": groups.seed.nunique(), "draws": groups.size()})
    out = out.join(quantiles.groupby(GROUP, observed=True).mean())
    return out.assign(lowest=groups.value.min()).reset_index()


def spread_of_draws(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `spread_of` the accuracy of single draws (the +ε ones)."""
    plus = rows[rows.sign > 0]
    return spread_of(plus.assign(value=plus.correct / plus.total))


def paired(rows: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return each run beside the baseline run of its seed, over the draws that both have.

    The two share initial weights, batch order and, draw by draw, the unit noise. Columns: `RUN`
    (of the other regime), alpha, draws (in common), images, the differences, other − baseline, in
    accuracy, drop and retention, and within: the variance that draws leave of the first, that of
    the paired draws or of the two runs as if independent, whichever is more, / their number.
    """
    baseline = baseline or baseline_of(rows)
    plus = rows[rows.sign > 0].drop(columns=["loss", "sign"])
    on = ["architecture", "seed", "alpha", "draw"]
    base = plus[plus.regime == baseline].drop(columns="regime")
    both = plus[plus.regime != baseline].merge(base, on=on, suffixes=("", "_base"))
    both = both.sort_values([*RUN, "alpha", "draw"])
    both["single"], both["single_base"] = (
        both.correct / both.total,
        both.correct_base / both.total_base,
    )
    both["difference"] = both.single - both.single_base
    table = both.groupby([*RUN, "alpha"], observed=True).agg(
        draws=("draw", "size"),
        images=("total", "max"),
        other=("correct", "sum"),
        total=("total", "sum"),
        base=("correct_base", "sum"),
        total_base=("total_base", "sum"),
        within=("difference", "var"),
        apart=("single", "var"),
        apart_base=("single_base", "var"),
    )
    table = table.reset_index()
    table["within"] = np.maximum(table.within, table.apart + table.apart_base) / table.draws
    table["other"], table["base"] = table.other / table.total, table.base / table.total_base
    start = table[table.alpha == 0][[*RUN, "other", "base"]]
    table = table.merge(start, on=RUN, how="left", suffixes=("", "_start"))
    other_start = table.other_start.where(table.other_start > 0)
    base_start = table.base_start.where(table.base_start > 0)
    table["accuracy"] = table.other - table.base
    table["drop"] = table.other_start - table.base_start - table.accuracy
    table["retention"] = table.other / other_start - table.base / base_start
    return table[[*RUN, "alpha", "draws", "images", "accuracy", "drop", "retention", "within"]]


def at_every_seed(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those α at which every paired seed of the architecture and regime was
    measured: a sweep that looks for the break adds strengths of its own, which are no verdicts."""
    whole = pairs.groupby(GROUP[:2], observed=True).seed.transform("nunique")
    return pairs[pairs.groupby(GROUP, observed=True).seed.transform("nunique") == whole]


def paired_effects(
    rows: pd.DataFrame, quantity: str = "accuracy", baseline: str | None = None
) -> pd.DataFrame:
    """Return the paired effect of each regime against the baseline, with verdicts.

    Args:
        rows: the measurements; strengths at which a paired seed lacks its pair do not count.
        quantity: "accuracy", "drop" or "retention"; only the first is judged, because a smaller
            drop from a lower start is not yet better.
        baseline: the regime to compare with; None = `baseline_of`.

    Returns:
        A row per architecture, regime and α: seeds, effect (mean over seeds), sd (over seeds, at
        least `least_spread`), draws (least in common per seed), within (standard deviation over
        seeds that their draws alone leave), and factor, half, low, high, comparisons, kind and
        verdict as from `verdicts.judge`. Of other quantities each interval stands by itself.
    """
    table = at_every_seed(paired(rows, baseline))
    if quantity != "accuracy":
        table = table[table.alpha > 0]  # at 0 both are what they are by definition
    groups = table.groupby(GROUP, observed=True)
    out = over_seeds(table, quantity, floor=least_spread(table))
    out["draws"], out["within"] = groups.draws.min(), np.sqrt(groups.within.mean())
    out = out.reset_index()
    if "looks" in rows:
        looks = rows.groupby("architecture", observed=True).looks.max()
        out["looks"] = out.architecture.map(looks).astype(int)
    return (judge(out) if quantity == "accuracy" else out).rename(columns={"mean": "effect"})


def find_unpaired(
    rows: pd.DataFrame, baseline: str | None = None, draws: float = np.inf
) -> list[str]:
    """Return a message for each run whose measurements are not all matched by its partner's.

    Only the first `draws` draws must be: with a precision, how many follow is each run's own.
    """
    baseline = baseline or baseline_of(rows)
    plus = rows[(rows.sign > 0) & (rows.draw < draws)]
    on = ["architecture", "seed", "alpha", "draw"]
    base = plus.loc[plus.regime == baseline, on]
    messages = []
    for regime, other in plus[plus.regime != baseline].groupby("regime", observed=True):
        both = other[on].merge(base, on=on, how="outer", indicator="side")
        for (name, seed), lone in both[both.side != "both"].groupby(on[:2], observed=True):
            extra = int((lone.side == "left_only").sum())
            alphas = ", ".join(f"{a:g}" for a in sorted(lone.alpha.unique()))
            messages.append(
                f"{name}, seed {seed}: {extra} measurements of {regime} and {len(lone) - extra} of"
                f" {baseline} have no partner (at α = {alphas})"
            )
    return messages
