"""Intervals and verdicts, as pure functions of the measured rows. No torch.

Every function takes `rows`: a frame with a row per measurement and the columns `architecture,
regime, seed, alpha, draw, sign, correct, total, loss`, where `correct` of `total` test images were
answered right and `loss` is summed over them (NaN where it is not finite). Accuracies are
fractions. Results do not depend on the order of the rows.

There are two levels of variation, and they are never pooled: noise draws are averaged inside a
seed, and seeds (independently trained models, each with its own draws) are the units of every
interval. Only +ε rows enter accuracies; −ε rows serve `curvature.curvature_term` alone.

Zero variance: accuracies are counts, and a few equal counts do not mean that there is no
variation. The standard deviation over seeds is therefore taken as at least one test image,
1/total. Without this floor the simultaneous intervals of 3 seeds and 11 α call a difference that
is not there in up to 27% of experiments whose true spread is below one image; with it, in less
than 5% (`tests/test_intervals.py` simulates it).
"""

import numpy as np
import pandas as pd
from scipy import stats

RUN = ["architecture", "regime", "seed"]
"""Columns that name a run."""
GROUP = ["architecture", "regime", "alpha"]
"""Columns that name a row of a table over seeds."""
LEVEL = 0.95
"""Coverage of every interval."""
EFFECT = 0.01
"""Difference in accuracy that an experiment should resolve: one point."""
POWER = 0.8
"""Probability with which it should do so."""
MOST_SEEDS = 200
"""Numbers of seeds above this are given as "more than"."""
BASELINE = "clean"
"""The regime that others are compared with, where a table does not say another."""
BETTER, WORSE, UNRESOLVED = "better", "worse", "unresolved"


def baseline_of(table: pd.DataFrame) -> str:
    """Return the regime that the others of a table are compared with: the first in table order,
    which its column of categories has; else `BASELINE`."""
    regimes = table.regime
    return regimes.cat.categories[0] if hasattr(regimes, "cat") else BASELINE


def t_factor(n, comparisons=1, level: float = LEVEL) -> np.ndarray:
    """Return the factor by which a standard error of n units is multiplied; NaN for n < 2.

    With more than one comparison the intervals are simultaneous: all of them hold together with
    probability `level`, whatever the correlation between them (Bonferroni: Dunn, 1961, JASA 56).
    A max-t method would be a little shorter, and would need that correlation, which a few seeds
    do not give.
    """
    n = np.asarray(n, float)
    tail = (1 - level) / (2 * np.asarray(comparisons, float))
    return np.where(n > 1, stats.t.isf(tail, np.maximum(n - 1, 1)), np.nan)


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

    Columns: `RUN`, alpha, draws (their number), images (in the test set), accuracy, loss (NaN if
    any draw's is), drop = accuracy(0) − accuracy(α), retention = accuracy(α) / accuracy(0); the
    last two are NaN where α = 0 was not measured.
    """
    plus = rows[rows.sign > 0].sort_values([*RUN, "alpha", "draw"])
    groups = plus.groupby([*RUN, "alpha"], observed=True)
    table = groups.agg(
        draws=("draw", "size"),
        images=("total", "max"),
        accuracy=("correct", "sum"),
        loss=("loss", "sum"),
        finite=("loss", "count"),
        total=("total", "sum"),
    ).reset_index()
    table["accuracy"] = table.accuracy / table.total
    table["loss"] = (table.loss / table.total).where(table.finite == table.draws)
    start = table[table.alpha == 0][[*RUN, "accuracy"]].rename(columns={"accuracy": "start"})
    table = table.merge(start, on=RUN, how="left")
    table["drop"] = table.start - table.accuracy
    table["retention"] = table.accuracy / table.start.where(table.start > 0)
    return table.drop(columns=["finite", "total", "start"])


def over_seeds(table: pd.DataFrame, value: str, comparisons=1, floor=0.0) -> pd.DataFrame:
    """Return a row per `GROUP`: the mean of a column over seeds with its t-interval.

    Args:
        table: a row per run and α.
        value: the column; rows where it is NaN do not count as seeds.
        comparisons: intervals that must hold together, one number or a Series indexed by `GROUP`.
        floor: least standard deviation over seeds, one number or a Series indexed by `GROUP`.

    Returns:
        A frame indexed by `GROUP` with seeds (their number), mean, sd (at least `floor`), factor
        (of the standard error), half, low, high; all but the mean are NaN with one seed.
    """
    groups = table.sort_values([*GROUP, "seed"]).groupby(GROUP, observed=True)[value]
    out = groups.agg(seeds="count", mean="mean", sd="std")
    if isinstance(floor, pd.Series):
        floor = floor.reindex(out.index)
    if isinstance(comparisons, pd.Series):
        comparisons = comparisons.reindex(out.index)
    out["sd"] = out.sd.where(~(out.sd < floor), floor)
    out["factor"] = t_factor(out.seeds, comparisons)
    out["half"] = out.factor * out.sd / np.sqrt(out.seeds)
    return out.assign(low=out["mean"] - out.half, high=out["mean"] + out.half)


def mean_accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean accuracy per architecture, regime and α with a 95% t-interval over seeds.

    Beside the columns of `over_seeds` (each interval by itself): draws (least and most per seed),
    and the means over seeds of drop, retention and loss.
    """
    table = draw_means(rows)
    groups = table.groupby(GROUP, observed=True)
    out = over_seeds(table, "accuracy", floor=1 / groups.images.max())
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
    (of the other regime), alpha, draws (in common), images, and the differences, other − baseline,
    in accuracy, drop and retention.
    """
    baseline = baseline or baseline_of(rows)
    plus = rows[rows.sign > 0].drop(columns=["loss", "sign"])
    on = ["architecture", "seed", "alpha", "draw"]
    base = plus[plus.regime == baseline].drop(columns="regime")
    both = plus[plus.regime != baseline].merge(base, on=on, suffixes=("", "_base"))
    table = both.groupby([*RUN, "alpha"], observed=True).agg(
        draws=("draw", "size"),
        images=("total", "max"),
        other=("correct", "sum"),
        total=("total", "sum"),
        base=("correct_base", "sum"),
        total_base=("total_base", "sum"),
    )
    table = table.reset_index()
    table["other"], table["base"] = table.other / table.total, table.base / table.total_base
    start = table[table.alpha == 0][[*RUN, "other", "base"]]
    table = table.merge(start, on=RUN, how="left", suffixes=("", "_start"))
    other_start = table.other_start.where(table.other_start > 0)
    base_start = table.base_start.where(table.base_start > 0)
    table["accuracy"] = table.other - table.base
    table["drop"] = table.other_start - table.base_start - table.accuracy
    table["retention"] = table.other / other_start - table.base / base_start
    return table[[*RUN, "alpha", "draws", "images", "accuracy", "drop", "retention"]]


def paired_effects(
    rows: pd.DataFrame, quantity: str = "accuracy", baseline: str | None = None
) -> pd.DataFrame:
    """Return the paired effect of each regime against the baseline, with verdicts.

    The intervals are simultaneous over the non-zero α of one architecture and regime; α = 0 stands
    by itself. The verdict is read from the interval: *better* or *worse* if it excludes zero, else
    *unresolved*: the half-width then says what could not be seen.

    Args:
        rows: the measurements.
        quantity: "accuracy", "drop" or "retention"; only the first is judged, because a smaller
            drop from a lower start is not yet better.
        baseline: the regime to compare with; None = `baseline_of`.

    Returns:
        A row per architecture, regime and α: the columns of `over_seeds` (its mean is called
        effect), comparisons (the family's size), draws (least in common per seed), verdict
        (accuracy only).
    """
    table = paired(rows, baseline)
    if quantity != "accuracy":
        table = table[table.alpha > 0]  # at 0 both are what they are by definition
    groups = table.groupby(GROUP, observed=True)
    images = groups.images.max()
    alphas = images.index.get_level_values("alpha")
    nonzero = pd.Series(alphas > 0, images.index)
    family = nonzero.groupby(GROUP[:2], observed=True).transform("sum").where(nonzero, 1)
    out = over_seeds(table, quantity, comparisons=family, floor=1 / images)
    out["comparisons"], out["draws"] = family, groups.draws.min()
    if quantity == "accuracy":
        out["verdict"] = np.select([out.low > 0, out.high < 0], [BETTER, WORSE], UNRESOLVED)
    return out.rename(columns={"mean": "effect"}).reset_index()


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


def sd_interval(sd, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the χ² interval of a standard deviation estimated from n normal values; NaN n < 2."""
    sd, df = np.asarray(sd, float), np.maximum(np.asarray(n, float) - 1, 1)
    tail = (1 - level) / 2
    low, high = (sd * np.sqrt(df / stats.chi2.isf(p, df)) for p in (tail, 1 - tail))
    return np.where(np.asarray(n) > 1, low, np.nan), np.where(np.asarray(n) > 1, high, np.nan)


def seeds_needed(sd, comparisons, effect: float = EFFECT, power: float = POWER) -> np.ndarray:
    """Return how many seeds resolve a true effect of a stated size with the stated power.

    The test is the two-sided one that `paired_effects` makes, at its simultaneous level; its power
    under the non-central t is integrated over the distribution of the estimated variance. This is
    not the power of the observed effect, which says nothing that its interval does not.

    Args:
        sd: true standard deviation over seeds, (m,).
        comparisons: size of the family, (m,).
        effect: the true effect, in the unit of `sd`.
        power: probability of a verdict in the right direction.

    Returns:
        Seeds, (m,): from 2 to `MOST_SEEDS`, inf above, NaN where `sd` is.
    """
    sd, comparisons = np.broadcast_arrays(np.asarray(sd, float), np.asarray(comparisons, float))
    needed = np.where(np.isnan(sd), np.nan, np.inf)
    middles = (np.arange(200) + 0.5) / 200
    for n in range(2, MOST_SEEDS + 1):
        todo = np.flatnonzero(np.isinf(needed))
        if not len(todo):
            break
        ratio = np.sqrt(stats.chi2.ppf(middles, n - 1) / (n - 1))  # estimated / true sd, (200,)
        shift = effect / np.maximum(sd[todo], 1e-300) * np.sqrt(n)  # in standard errors
        reached = stats.norm.sf(t_factor(n, comparisons[todo])[:, None] * ratio - shift[:, None])
        needed[todo[reached.mean(axis=1) >= power]] = n
    return needed


def what_it_takes(effects: pd.DataFrame, effect: float = EFFECT) -> pd.DataFrame:
    """Return, for each unresolved effect at α > 0, the seeds that would resolve `effect`.

    Columns: `GROUP`, seeds (now), sd, needed, and needed_low to needed_high, the range that the
    uncertainty of `sd` leaves (its 95% χ² interval); inf stands for more than `MOST_SEEDS`.
    """
    open_ = effects[(effects.verdict == UNRESOLVED) & (effects.alpha > 0)]
    out = open_[[*GROUP, "seeds", "sd"]].reset_index(drop=True)
    low, high = sd_interval(out.sd, out.seeds)
    for name, sd in (("needed", out.sd), ("needed_low", low), ("needed_high", high)):
        out[name] = seeds_needed(sd, open_.comparisons, effect)
    return out
