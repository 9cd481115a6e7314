"""The two numbers that an experiment is for, stated before any data: cost and tolerance. No torch.

- *cost*: accuracy(clean) − accuracy(regime) at α = 0, in points (0.01): what a method of training
  costs without noise. Above 0 is worse.
- *tolerance*: α₅₀(regime) / α₅₀(clean), a ratio, with α₅₀ the strength at which accuracy is halfway
  from its own start to chance: how much more noise the model stands. Above 1 is better.

Both are of one seed's pair, which shares initial weights, batch order and noise; their means over
seeds (geometric for ratios) have t-intervals that hold together at 95%: one family per architecture
with 2 × the regimes compared, by Bonferroni. Words are read from the intervals; *equivalent* is
inside ± one point, or 1/1.05 to 1.05.

An α₅₀ that a sweep does not reach is a bound, and so is the ratio (see `curves`): where the noisy
curve does not fall halfway there is a lower bound of the tolerance, and no upper one.
"""

import numpy as np
import pandas as pd

from analysis import curves
from analysis.intervals import RUN, baseline_of, paired_effects
from analysis.looks import part_of
from analysis.verdicts import LEVEL, UNRESOLVED, find_word, t_factor

COST, TOLERANCE = "cost", "tolerance"
INJECTION = "noisy"
"""The regime of plain noise injection: what a further method is worth beside it is asked too."""
RATIO = 1.05
"""Tolerances between 1/RATIO and RATIO are as good as 1: *equivalent*."""
KEY = ["architecture", "regime", "endpoint"]
COLUMNS = [
    *(*KEY, "unit", "seeds", "censored", "value_low", "value_high", "sd", "within", "draws"),
    *("comparisons", "low", "high", "verdict", "not_reached"),
]


def endpoints(
    rows: pd.DataFrame, baseline: str | None = None, effects: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return cost and tolerance of each regime that has pairs with the baseline.

    Args:
        rows: the measurements, as in `curves`.
        baseline: the regime to compare with.
        effects: `paired_effects` of the rows, where it is at hand.

    Returns:
        Two rows per architecture and regime: `KEY`, unit ("points" or "ratio"), seeds (that have a
        value), censored (of them, those that are only bounds), value_low ≤ mean ≤ value_high
        (equal where nothing is censored), sd (over seeds, in points, or of the logarithm), within
        (standard deviation over seeds that their draws alone leave), draws (least per seed),
        comparisons (that share the error), low, high (95% interval, together), verdict, and
        not_reached (the regimes whose α₅₀ was not reached in some seed; "" if all were).
    """
    baseline = baseline or baseline_of(rows)
    effects = paired_effects(rows, baseline=baseline) if effects is None else effects
    ratios = tolerances(rows, baseline)
    family = 2 * ratios.groupby(RUN[0], observed=True).regime.nunique() / part_of(rows)
    out = []
    for (architecture, regime), pairs in ratios.groupby(RUN[:2], observed=True):
        own = (effects.architecture == architecture) & (effects.regime == regime)
        who = {"architecture": architecture, "regime": regime, "comparisons": family[architecture]}
        sides = {baseline: pairs.above_base.any(), regime: pairs.above.any()}
        lacking = " and ".join(name for name, above in sides.items() if above)
        start = effects[own & (effects.alpha == 0)]
        out.append(who | cost(start))
        out.append(who | tolerance(pairs, who["comparisons"]) | {"not_reached": lacking})
    return pd.DataFrame(out, columns=COLUMNS).astype({name: rows[name].dtype for name in KEY[:2]})


def against_both(rows: pd.DataFrame, effects: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return `endpoints` against the baseline, then those of the other regimes against `INJECTION`.

    The intervals of each of the two hold together over all their methods; the two are families of
    their own, with an error of 5% each.

    Args:
        rows, effects: as in `endpoints`.

    Returns:
        The columns of `endpoints` behind a first one, baseline.
    """
    first = baseline_of(rows)
    tables = {first: endpoints(rows, effects=effects)}
    others = rows[rows.regime != first]
    second = injection_of([first, *others.regime.unique()])
    if second not in (None, first) and others.regime.nunique() > 1:
        tables[second] = endpoints(others, second)
    parts = [table.assign(baseline=name) for name, table in tables.items() if len(table)]
    return pd.concat(parts, ignore_index=True)[["baseline", *COLUMNS]] if parts else tables[first]


def injection_of(regimes: list[str]) -> str | None:
    """Return the one of some regimes that is plain injection: `INJECTION`, else the only one that
    differs from it in a parameter; None where there is none, or more."""
    own = [name for name in regimes if name.partition(":")[0] == INJECTION]
    return INJECTION if INJECTION in own else own[0] if len(own) == 1 else None


def cost(start: pd.DataFrame) -> dict:
    """Return the cost from the effect at α = 0, one row of `paired_effects` or none."""
    named = {"endpoint": COST, "unit": "points", "censored": 0, "not_reached": ""}
    if start.empty:
        return named | {"seeds": 0, "draws": 0, "verdict": UNRESOLVED}
    row = start.iloc[0]
    mean, sd, low, high = (100 * x for x in (-row.effect, row.sd, -row.high, -row.low))
    found = {"value_low": mean, "value_high": mean, "sd": sd, "low": low, "high": high}
    return named | found | {name: row[name] for name in ("seeds", "draws", "verdict")}


def tolerance(pairs: pd.DataFrame, comparisons: int) -> dict:
    """Return the tolerance from the rows of `tolerances` of one regime.

    Each end of the interval comes from its own bound. Cutting values off at the largest α shrinks
    their spread, and with it a t-interval: with a censored value the interval is one of
    `curves.CENSORED_LEVEL`.
    """
    named = {"endpoint": TOLERANCE, "unit": "ratio"}
    known = pairs.dropna(subset=["low", "high"]).sort_values("seed")
    n, censored = len(known), int((known.low != known.high).sum())
    if not n:
        return named | {"seeds": 0, "censored": 0, "draws": 0, "verdict": UNRESOLVED}
    level = curves.CENSORED_LEVEL if censored else LEVEL
    within = float(np.sqrt(known.within.mean()))
    least = np.nanmax([0.0, within, known.image.max()])
    with np.errstate(divide="ignore"):
        ends = [np.log(known[side].to_numpy(float)) for side in ("low", "high")]
    means, spreads = [float(end.mean()) for end in ends], [spread(end, least) for end in ends]
    factor = float(t_factor(n, comparisons, level)) / np.sqrt(n)  # NaN for one seed
    reach = [np.inf if np.isnan(sd) and n > 1 else factor * sd for sd in spreads]
    low, high = means[0] - reach[0], means[1] + reach[1]
    values = dict(zip(("value_low", "value_high", "low", "high"), np.exp([*means, low, high])))
    counts = {"seeds": n, "censored": censored, "draws": int(known.draws.min())}
    shape = {"sd": np.fmax(*spreads), "within": within}
    word = find_word(low, high, np.log(RATIO)).item()
    return named | counts | values | shape | {"verdict": word}


def spread(values: np.ndarray, least: float) -> float:
    """Return the standard deviation of values, at least `least`; NaN where one is infinite, and for
    equal values of which not even the least is known."""
    finite = len(values) > 1 and np.isfinite(values).all()
    return (max(float(values.std(ddof=1)), least) if finite else 0.0) or float("nan")


def tolerances(rows: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return α₅₀(regime) / α₅₀(baseline) of every seed that has both, as bounds.

    Columns: `RUN`, low, high; above, above_base (whether an α₅₀ is above the largest α); draws (of
    the pair, where it breaks), within (variance that they leave of the log ratio, see
    `left_by_draws`) and image (change of the log ratio that one image makes).
    """
    baseline, half = baseline or baseline_of(rows), halves(rows)
    on = ["architecture", "seed"]
    base = half[half.regime == baseline].drop(columns="regime")
    both = half[half.regime != baseline].merge(base, on=on, suffixes=("_own", "_base"))
    with np.errstate(divide="ignore", invalid="ignore"):
        both["low"] = both.low_own / both.high_base
        both["high"] = both.high_own / both.low_base
    both["above"], both["above_base"] = np.isinf(both.high_own), np.isinf(both.high_base)
    both["image"] = np.fmax(both.image_own, both.image_base)
    pairs = list(zip(both.by_draw_own, both.by_draw_base, strict=True))
    whole = np.array([len(own.index.intersection(other.index)) for own, other in pairs], int)
    both["draws"] = np.maximum(whole, np.minimum(both.at_break_own, both.at_break_base))
    left = np.array([left_by_draws(*pair) for pair in pairs], float)
    both["within"] = left * whole / both.draws.where(both.draws > 0)
    return both[[*RUN, "low", "high", "above", "above_base", "within", "draws", "image"]]


def left_by_draws(own: pd.Series, base: pd.Series) -> float:
    """Return the variance that draws leave of a log ratio: that of the ratios of single draws /
    their number; NaN where fewer than two draws cross in both. It is known of draws that have every
    strength; a second stage has more where the curve is steep, and leaves the less."""
    ratios = (own - base).dropna()
    return float(ratios.var() / len(ratios)) if len(ratios) > 1 else float("nan")


def halves(rows: pd.DataFrame) -> pd.DataFrame:
    """Return α₅₀ of every run: `RUN`, low, high, image (change of log α₅₀ that one image makes),
    by_draw (a Series: log α₅₀ of each draw that has all α > 0 of the run) and at_break (draws of
    the strengths on either side of α₅₀; 0 where it is a bound)."""
    metrics = curves.curve_metrics(rows)
    metrics = metrics[metrics.metric == "alpha_half"].set_index(RUN)
    chance, plus = curves.chance_of(rows), rows[rows.sign > 0]
    plus = plus.assign(accuracy=plus.correct / plus.total)
    wide = plus.pivot(index=[*RUN, "alpha"], columns="draw", values="accuracy").reset_index("alpha")
    images = plus.groupby(RUN, observed=True).total.max()
    out = []
    for run, part in wide.groupby(RUN, observed=True, sort=True):
        alpha, accuracy = part.alpha.to_numpy(), part.drop(columns="alpha").to_numpy()
        start = accuracy[alpha == 0]
        level = (np.nanmean(start) + chance[run]) / 2 if start.size else np.nan
        found = of_draws(alpha[alpha > 0], accuracy[alpha > 0], level, 1 / images[run])
        ends = metrics.low[run], metrics.high[run]
        out.append((*run, *ends, *found, draws_around(alpha, accuracy, *ends)))
    table = pd.DataFrame(out, columns=[*RUN, "low", "high", "image", "by_draw", "at_break"])
    return table.astype({**{name: rows[name].dtype for name in RUN}, "low": float, "high": float})


def draws_around(alpha: np.ndarray, accuracy: np.ndarray, low: float, high: float) -> int:
    """Return how many draws the strengths on either side of a crossing have, the fewer of the two;
    0 where it is not known. Arguments as in `of_draws`, and the bounds of the crossing."""
    if low != high:
        return 0
    counts = (~np.isnan(accuracy)).sum(axis=1)
    sides = alpha[alpha <= low].max(initial=alpha.min()), alpha[alpha >= low].min(initial=alpha[-1])
    return int(counts[np.isin(alpha, sides)].min())


def of_draws(
    alpha: np.ndarray, accuracy: np.ndarray, level: float, image: float
) -> tuple[float, pd.Series]:
    """Return what one image changes in the log α at which the mean curve crosses a level, and that
    log α of each draw that has all α; NaN where it is not crossed.

    Args:
        alpha: strengths > 0, ascending, (k,).
        accuracy: by strength and draw, NaN where not measured, (k, draws).
        level: the accuracy to fall to; NaN if it is not known.
        image: one image, as a fraction.
    """
    whole = np.flatnonzero(~np.isnan(accuracy).any(axis=0))
    if not len(whole) or not len(alpha) or np.isnan(level):
        return float("nan"), pd.Series(dtype=float)
    accuracy = accuracy[:, whole]

    def log_crossing(values: np.ndarray, at: float) -> float:
        low, high = curves.crossing(alpha, values, at)
        return float(np.log(low)) if low == high else float("nan")

    mean = accuracy.mean(axis=1)
    width = log_crossing(mean, level - image / 2) - log_crossing(mean, level + image / 2)
    return width, pd.Series([log_crossing(draw, level) for draw in accuracy.T], whole)
