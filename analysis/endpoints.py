"""The two numbers that an experiment is for, stated before any data: cost and tolerance. No torch.

- *cost*: accuracy(clean) − accuracy(regime) at α = 0, in points (0.01): what a method of training
  costs without noise. Above 0 is worse.
- *tolerance*: α₅₀(regime) / α₅₀(clean), a ratio, with α₅₀ the strength at which accuracy is halfway
  from its own start to chance: how much more noise the model stands. Above 1 is better.

Both are of one seed's pair, which shares initial weights, batch order and noise; their means over
seeds (geometric for ratios) have t-intervals that hold together at 95%: one family per architecture
with 2 × the regimes compared, by Bonferroni. Words are read from the intervals; *equivalent* is
inside ± one point, or 1/1.05 to 1.05.

An α₅₀ that a sweep does not reach is a bound, and so is the ratio (see `curves`): with a noisy curve
that does not fall halfway there is a lower bound of the tolerance, and no upper one.
"""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.intervals import BASELINE, RUN, draw_means, paired_effects
from analysis.verdicts import BETTER, LEVEL, MARGIN, UNRESOLVED, WORSE, find_word, t_factor

COST, TOLERANCE = "cost", "tolerance"
RATIO = 1.05
"""Tolerances between 1/RATIO and RATIO are as good as 1: *equivalent*."""
KEY = ["architecture", "regime", "endpoint"]
COLUMNS = [
    *(*KEY, "unit", "seeds", "censored", "value_low", "value_high", "sd", "within", "draws"),
    *("comparisons", "low", "high", "verdict", "not_reached"),
]


def endpoints(
    rows: pd.DataFrame, baseline: str = BASELINE, effects: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return cost and tolerance of each regime that has pairs with the baseline.

    Args:
        rows: the measurements, as in `curves`.
        baseline: the regime to compare with.
        effects: `paired_effects` of the rows, where it is at hand.

    Returns:
        Two rows per architecture and regime, in `COLUMNS`: unit ("points" or "ratio"); seeds (that
        have a value); censored (of them, those that are only bounds); value_low ≤ mean ≤ value_high
        (equal where nothing is censored); sd (over seeds, in points, or of the logarithm) and
        within (what their draws alone leave of it); draws (least per seed); comparisons (that share
        the error); low, high (95% interval, together); verdict; not_reached (the regimes whose α₅₀
        was not reached in some seed, "" if all were).
    """
    effects = paired_effects(rows, baseline=baseline) if effects is None else effects
    ratios = tolerances(rows, baseline)
    pairs = ratios.groupby(RUN[:2], observed=True)
    family = 2 * ratios.groupby(RUN[0], observed=True).regime.nunique()
    out = []
    for (architecture, regime), part in pairs:
        name, comparisons = (architecture, regime), int(family[architecture])
        own = (effects.architecture == architecture) & (effects.regime == regime)
        start = effects[own & (effects.alpha == 0)]
        out.append([*name, COST, "points", *cost(start, comparisons), ""])
        found = tolerance(part, comparisons)
        high = part.filter(like="above").any()
        lacking = [r for r, side in ((baseline, "above_base"), (regime, "above")) if high[side]]
        out.append([*name, TOLERANCE, "ratio", *found, " and ".join(lacking)])
    table = pd.DataFrame(out, columns=COLUMNS)
    return table.astype({name: rows[name].dtype for name in KEY[:2]})


def cost(start: pd.DataFrame, comparisons: int) -> list:
    """Return the cost's columns, seeds to verdict, from the effect at α = 0: none or one row."""
    if start.empty:
        return [0, 0, *[np.nan] * 4, 0, comparisons, np.nan, np.nan, UNRESOLVED]
    row = start.iloc[0]
    mean, sd, low, high = (100 * x for x in (-row.effect, row.sd, -row.high, -row.low))
    return [row.seeds, 0, mean, mean, sd, np.nan, row.draws, comparisons, low, high, row.verdict]


def tolerance(pairs: pd.DataFrame, comparisons: int) -> list:
    """Return the tolerance's columns, seeds to verdict, of the pairs of one regime.

    Each end of the interval comes from its own bound. Cutting values off at the largest α shrinks
    their spread, and with it a t-interval: a censored value widens its error as in
    `curves.CENSORED_LEVEL`.
    """
    known = pairs.dropna(subset=["low", "high"]).sort_values("seed")
    n, censored = len(known), int((known.low != known.high).sum())
    least = max(np.sqrt(known.within.mean()), known.image.max()) if n else np.nan
    least = np.nan_to_num(least if known.within.notna().any() else known.image.max())
    level = curves.CENSORED_LEVEL if censored else LEVEL
    with np.errstate(divide="ignore"):
        ends = [np.log(known[side].to_numpy(float)) for side in ("low", "high")]
    means, limits, spreads = [], [], []
    for end, sign in zip(ends, (-1, 1), strict=True):
        mean = float(end.mean()) if n else np.nan
        finite = n > 1 and np.isfinite(end).all()
        sd = max(float(end.std(ddof=1)), least) if finite else np.nan
        half = float(t_factor(n, comparisons, level)) * sd / np.sqrt(max(n, 1))
        means.append(mean)
        spreads.append(sd)
        limits.append(mean + sign * half if finite else sign * np.inf if n > 1 else np.nan)
    word = find_word(*limits, np.log(RATIO)).item() if n > 1 else UNRESOLVED
    sd = spreads[0] if np.isfinite(spreads[0]) else spreads[1]
    within = np.sqrt(known.within.mean()) if known.within.notna().any() else np.nan
    draws = int(known.draws.min()) if n else 0
    values = np.exp([*means, *limits])
    return [n, censored, *values[:2], sd, within, draws, comparisons, *values[2:], word]


def tolerances(rows: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """Return α₅₀(regime) / α₅₀(baseline) of every seed that has both, as bounds.

    Columns: `RUN`, low, high; above, above_base (whether an α₅₀ is above the largest α); within
    (variance that draws leave of the log ratio: that of the ratios of single draws / their number,
    NaN where fewer than two are known), draws (common to all α > 0 of the pair) and image (change
    of the log ratio that one image makes).
    """
    half = halves(rows)
    on = ["architecture", "seed"]
    base = half[half.regime == baseline].drop(columns="regime")
    both = half[half.regime != baseline].merge(base, on=on, suffixes=("", "_base"))
    with np.errstate(divide="ignore", invalid="ignore"):
        both["low"], both["high"] = both.low / both.high_base, both.high / both.low_base
    both["above"], both["above_base"] = np.isinf(both.high_run), np.isinf(both.high_run_base)
    both["image"] = np.maximum(both.image, both.image_base)
    spread = [in_common(a, b) for a, b in zip(both.by_draw, both.by_draw_base, strict=True)]
    both["within"] = [ratio.var(ddof=1) / len(ratio) if len(ratio) > 1 else np.nan for ratio in spread]
    both["draws"] = [len(ratio) for ratio in spread]
    return both[[*RUN, "low", "high", "above", "above_base", "within", "draws", "image"]]


def in_common(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Return the log ratios of the draws in which both cross."""
    return (one - other).dropna().to_numpy()


def halves(rows: pd.DataFrame) -> pd.DataFrame:
    """Return α₅₀ of every run: `RUN`, low, high, high_run (the same), image (change of log α₅₀ that
    one image makes) and by_draw (a Series: log α₅₀ of each draw that has all α > 0 of the run)."""
    metrics = curves.curve_metrics(rows)
    metrics = metrics[metrics.metric == "alpha_half"].set_index(RUN)
    chance, plus = curves.chance_of(rows), rows[rows.sign > 0]
    plus = plus.assign(accuracy=plus.correct / plus.total)
    out = []
    for run, part in plus.groupby(RUN, observed=True):
        low, high = metrics.loc[run, ["low", "high"]]
        start = part.accuracy[part.alpha == 0].mean()
        noisy = part[part.alpha > 0].pivot(index="alpha", columns="draw", values="accuracy")
        noisy, level = noisy.dropna(axis=1), (start + chance[run]) / 2
        out.append((*run, low, high, high, *of_draws(noisy, level, 1 / part.total.max())))
    columns = [*RUN, "low", "high", "high_run", "image", "by_draw"]
    return pd.DataFrame(out, columns=columns).astype({name: rows[name].dtype for name in RUN})


def of_draws(curves_: pd.DataFrame, level: float, image: float) -> tuple[float, pd.Series]:
    """Return what one image changes in the log α at which the mean of the curves (α × draws)
    crosses a level, and that log α of each curve; NaN where it is not crossed."""
    alpha = curves_.index.to_numpy(float)

    def log_crossing(values: np.ndarray, at: float) -> float:
        low, high = curves.crossing(alpha, values, at)
        return float(np.log(low)) if low == high else np.nan

    mean = curves_.mean(axis=1).to_numpy()
    width = log_crossing(mean, level - image / 2) - log_crossing(mean, level + image / 2)
    by_draw = {draw: log_crossing(curves_[draw].to_numpy(), level) for draw in curves_}
    return width, pd.Series(by_draw, dtype=float)
