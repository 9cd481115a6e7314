"""Words for effects, and the intervals that they are read from: pure functions. No torch.

Two families of words on one architecture each keep an error of 5% by themselves, counted as false
words: *better* or *worse* where there is no effect or the opposite one, *equivalent* where the
effect is as large as the margin or larger. (Each further noise family has its own two.)

- the two endpoints of every regime (`endpoints`), by Bonferroni's inequality (Dunn, 1961, JASA 56):
  each has 1/(2 × regimes) of the error, and all their intervals hold together;
- the verdicts by strength, α = 0 among them. The word for 0 is the endpoint's, with its share, so
  that all zeros together spend half of the error; a zero that is resolved hands its share on to the
  strengths above 0 (Bretz et al., 2009, Statistics in Medicine 28). These share what there is by
  Holm's step-down method (1979, Scand. J. Statist. 6): the smallest p-value is held against 1/m of
  it, the next against 1/(m − 1), as far as all before were resolved. *Equivalent* hands nothing on:
  a true null would then free error for others. It is read at the level of the last step.

Words and printed intervals agree. The interval of a strength holds together with those of all
other strengths above 0 (Bonferroni, `TOGETHER`). Where the word was found at a later step, and that
interval does not bear it out, it ends where the word does: at 0, or at ± the margin (`CUT`). Such
an interval misses the truth only where the uncut one does, or where the word is false. (That of the
step itself is shorter, and does not hold together: with it, all that is printed would cover 93%.)
`benchmarks/STATISTICS.md` says what was tried and simulated.
"""

import numpy as np
import pandas as pd
from scipy import stats

from analysis.looks import part_of

LEVEL = 0.95
"""Coverage of every interval, or of all that hold together."""
MARGIN = 0.01
"""Differences in accuracy below one point are as good as none: *equivalent*."""
BETTER, WORSE, EQUIVALENT, UNRESOLVED = "better", "worse", "equivalent", "unresolved"
RESOLVED = (BETTER, WORSE)
TOGETHER, CUT, ENDPOINT = "together", "cut", "endpoint"
"""Kinds of interval: simultaneous over the strengths above 0; the same, cut where the word says
more; simultaneous over the endpoints."""


def t_factor(n, comparisons=1, level: float = LEVEL) -> np.ndarray:
    """Return the factor by which a standard error of n units is multiplied; NaN for n < 2.

    With more than one comparison the intervals are simultaneous: all of them hold together with
    probability `level`, whatever the correlation between them (Bonferroni).
    """
    n = np.asarray(n, float)
    tail = (1 - level) / (2 * np.asarray(comparisons, float))
    return np.where(n > 1, stats.t.isf(tail, np.maximum(n - 1, 1)), np.nan)


def find_word(low, high, margin: float = MARGIN) -> np.ndarray:
    """Return the word that each interval bears out, the first of *better*, *worse*, *equivalent*
    that it does: above 0, below 0, inside ± margin; else *unresolved*."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    inside = (low > -margin) & (high < margin)
    return np.select([low > 0, high < 0, inside], [BETTER, WORSE, EQUIVALENT], UNRESOLVED)


def step_down(p: pd.Series, family: pd.Series, share: pd.Series) -> pd.DataFrame:
    """Return Holm's decisions.

    Args:
        p: two-sided p-values; NaN where there is none, which does not count.
        family: the family of each; the families are judged apart.
        share: what part of the error each family has, 0 to 1, on every row.

    Returns:
        A frame indexed like `p`: size (of the family), resolved, step (how many comparisons shared
        the error where this one was decided: size, size − 1, … for those resolved in turn, and how
        many were left for all that were not).
    """
    order = pd.DataFrame({"p": p, "family": family, "share": share}).sort_values(
        ["family", "p"], kind="stable"
    )
    groups = order.groupby("family", observed=True, sort=False)
    size = groups.p.transform("count")
    left = size - groups.cumcount()  # NaN stand last
    passed = order.p <= (1 - LEVEL) * order.share / left.clip(lower=1)
    resolved = passed.groupby(order.family, observed=True).cummin()
    rest = size - resolved.groupby(order.family, observed=True).transform("sum")
    step = left.where(resolved, rest).clip(lower=1)
    return pd.DataFrame({"size": size, "resolved": resolved, "step": step}).reindex(p.index)


def judge(table: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """Return effects with their intervals and verdicts.

    Args:
        table: a row per architecture, regime and alpha: these columns, seeds, mean and sd (over
            seeds), and looks where there were several (see `looks`); the rows of one architecture
            are a family.
        margin: effects below it are equivalent, in the unit of the mean.

    Returns:
        The same with strengths (above 0 that share the error), comparisons (the interval has
        1/comparisons of it), factor, half, low, high (within ± half of the mean, and within the
        word), kind (`TOGETHER`, `CUT`; `ENDPOINT` at α = 0) and verdict. NaN and *unresolved* with
        one seed.
    """
    out, error = table.copy(), table.sd / np.sqrt(table.seeds)
    names = table.groupby("architecture", observed=True)
    zero = table.alpha == 0
    left = table.architecture.map(part_of(table)).astype(float)  # of the error, after looks
    shares = 2 * names.regime.transform("nunique") / left  # the endpoints of an architecture

    def word_at(comparisons) -> np.ndarray:
        half = t_factor(table.seeds, comparisons) * error
        return find_word(table["mean"] - half, table["mean"] + half, margin)

    spent = zero & ~np.isin(word_at(shares), RESOLVED)  # a zero that keeps its share
    share = left - (spent / shares).groupby(table.architecture, observed=True).transform("sum")
    with np.errstate(divide="ignore", invalid="ignore"):
        p = pd.Series(2 * stats.t.sf((table["mean"] / error).abs(), table.seeds - 1), table.index)
    p = p.where((table.seeds > 1) & ~zero)
    found = step_down(p, table.architecture, share)
    together, step = (found[name].clip(lower=1) / share for name in ("size", "step"))
    out["strengths"] = found["size"]
    out["comparisons"] = together.where(~zero, shares)
    out["factor"] = t_factor(table.seeds, out.comparisons)
    out["half"] = out.factor * error
    out["verdict"] = word_at(step.where(~zero, shares))
    low, high = table["mean"] - out.half, table["mean"] + out.half
    is_cut = find_word(low, high, margin) != out.verdict
    out["low"], out["high"] = cut(low, high, out.verdict, margin)
    out["kind"] = np.select([zero, is_cut], [ENDPOINT, CUT], TOGETHER)
    return out


def cut(low: pd.Series, high: pd.Series, word: pd.Series, margin: float) -> tuple:
    """Return the ends of intervals, cut to what their words leave possible."""
    least = word.map({BETTER: 0.0, EQUIVALENT: -margin}).fillna(-np.inf)
    most = word.map({WORSE: 0.0, EQUIVALENT: margin}).fillna(np.inf)
    return low.clip(lower=least), high.clip(upper=most)
