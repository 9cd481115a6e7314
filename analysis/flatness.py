"""Does flatness explain the fall? Numbers of each model, over seeds and in pairs. No torch.

The loss rises by ½ α² C for small α. C is measured (`measured`), and the Hessian's part of it is
Σ s² tr(H) (`trace`), both over the same draws. Their ratio (`share`) is 1 where the loss is smooth.
Kinks, of ReLUs and maxima, add to C and not to H; crossing them is of order α² at every α that
crosses many. Below that the few that are crossed, and the few images that have them, are chance:
"small" is therefore not the least α that was measured, but the least-squares C over α ≤ `SMALL`,
for which the largest of them counts most.

The radius is the α at which 2·term/α² leaves [½ C, 2 C]: where the second order ends, kinks or not.
All are positive and are averaged, and compared between regimes, as logarithms.
"""

import numpy as np
import pandas as pd

from analysis.curves import NOT_KNOWN, Bounds, crossing, mean_bounds
from analysis.intervals import GROUP, RUN, baseline_of
from analysis.verdicts import t_factor

SMALL = 0.1
"""Largest α that counts as small."""
FACTOR = 2.0
"""How far 2·term/α² may depart from its value at small α within the radius."""
QUANTITIES = ("measured", "trace", "share")
"""What every model with pairs and forms has, beside its radius."""
WHO = GROUP[:2]
BOUNDS = ["mean", "low", "high"]


def small_terms(alpha: np.ndarray, term: np.ndarray, small: float = SMALL) -> np.ndarray:
    """Return the least-squares C of term = ½ α² C over 0 < α ≤ small.

    Args:
        alpha: strengths > 0, (k,).
        term: curvature terms of each pair, (n, k).

    Returns:
        C of each pair, (n,); NaN where there is no such α.
    """
    near = alpha <= small
    weight = alpha[near] ** 2
    square = weight @ weight
    return 2 * term[:, near] @ weight / (square if square else np.nan)


def radius(alpha: np.ndarray, term: np.ndarray, level: float, small: float = SMALL) -> Bounds:
    """Return the α at which 2·term/α² first leaves [level/`FACTOR`, level·`FACTOR`], as bounds.

    Linear in log α and in the logarithm of the ratio; not left: (largest α, inf). A term that is
    negative or not finite is outside, as one that is off by `FACTOR`².

    Args:
        alpha: strengths > 0, ascending, (k,).
        term: mean curvature terms, (k,).
        level: C at small α; unless it is positive the radius is not known.
        small: up to this α the term is at its level by definition.
    """
    near = alpha <= small
    if not (level > 0 and near.any()):
        return NOT_KNOWN
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs(np.log(2 * term[~near] / alpha[~near] ** 2 / level)) / np.log(FACTOR)
    away = np.where(np.isfinite(away), away, 2.0)
    return crossing(np.append(alpha[near][-1:], alpha[~near]), np.append(1.0, 1 - away), 0.0)


def of_runs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of every run.

    Args:
        pairs: from `curvature.pair_terms`.

    Returns:
        A row per run: `RUN`, pairs (draws that every α has), measured, trace (nats), share,
        radius_low, radius_high; and of each the standard error of its logarithm that the pairs
        leave (jackknife: Efron and Stein, 1981), with _error behind the name. NaN where a number is
        not positive or not known.
    """
    found = []
    for run, part in pairs.groupby(RUN, observed=True):
        even = part.pivot(index="draw", columns="alpha", values="even")
        even = even[part.pivot(index="draw", columns="alpha", values="draw").notna().all(axis=1)]
        alpha, terms = even.columns.to_numpy(float), even.to_numpy(float)
        form = (2 * part.predicted / part.alpha**2).groupby(part.draw).first()
        form = form.reindex(even.index).to_numpy(float)
        found.append((*run, len(even), *of_run(alpha, terms, form).values()))
    names = ["measured", "trace", "share", "radius_low", "radius_high"]
    columns = [*RUN, "pairs", *names, *(f"{n}_error" for n in (*QUANTITIES, "radius"))]
    table = pd.DataFrame(found, columns=columns)
    return table.astype({name: pairs[name].dtype for name in RUN})


def of_run(alpha: np.ndarray, terms: np.ndarray, form: np.ndarray) -> dict[str, float]:
    """Return the numbers of one run, and the errors of their logarithms.

    Args:
        alpha: (k,); terms: (n, k), a row for each pair; form: zᵀSHSz of each pair, (n,).
    """
    n = len(terms)
    near = small_terms(alpha, terms)  # (n,)

    def numbers(kept: np.ndarray) -> np.ndarray:
        measured, trace = near[kept].mean(), form[kept].mean()
        edges = radius(alpha, terms[kept].mean(axis=0), measured)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([measured, trace, trace / measured, *edges])

    every = np.arange(n)
    whole = numbers(every)
    whole[:3] = np.where(whole[:3] > 0, whole[:3], np.nan)
    names = (*QUANTITIES, "radius_low", "radius_high")
    left = np.array([numbers(every[every != k]) for k in range(n)]).reshape(n, 5)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(left)
        error = np.sqrt((n - 1) / n * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    error = np.where(n > 1, error, np.nan)[:4]  # that of the radius is of its lower bound
    return dict(zip(names, whole.tolist(), strict=True)) | {
        f"{name}_error": e for name, e in zip((*QUANTITIES, "radius"), error.tolist(), strict=True)
    }


def vague(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs whose measured C their own pairs do not tell from 0: it lies inside the 95%
    t-interval over pairs, or is not positive. Among logarithms such a one may weigh most."""
    factors = runs.pairs.map(t_factor).astype(float)
    return runs[~(runs.measured_error * factors < 1)]


def over_seeds(runs: pd.DataFrame, name: str) -> dict:
    """Return the geometric mean of one quantity over the runs of a table, with its 95% interval.

    Over seeds it is a t-interval, with a standard deviation of at least what the pairs leave of it;
    of one seed it is one over pairs, and holds for this very model.

    Returns:
        seeds, mean, low, high (NaN if a value is).
    """
    table = runs.sort_values("seed")
    logs, errors = np.log(table[name]), table[f"{name}_error"]
    n, least = len(logs), float(np.sqrt((errors**2).mean()))
    sd = np.fmax(logs.std(ddof=1), least) if n > 1 else least
    count = n if n > 1 else int(table.pairs.min()) if n else 0
    half = float(t_factor(count)) * sd / np.sqrt(max(n, 1))
    mean = float(logs.mean(skipna=False)) if n else np.nan
    return {"seeds": n} | dict(zip(BOUNDS, np.exp([mean, mean - half, mean + half]).tolist()))


def radius_over_seeds(runs: pd.DataFrame) -> dict:
    """Return the same of the radius, in the words of `curves.mean_bounds`."""
    bounds = runs[["seed", "radius_low", "radius_high"]].set_axis(["seed", "low", "high"], axis=1)
    logs = bounds.assign(metric="log radius", low=np.log(bounds.low), high=np.log(bounds.high))
    found = mean_bounds(logs)
    if found["seeds"] == 1 and not found["censored"]:
        half = float(t_factor(runs.pairs.iloc[0])) * runs.radius_error.iloc[0]
        found |= {"low": found["mean_low"] - half, "high": found["mean_high"] + half}
    ends = ("mean_low", "mean_high", "low", "high")
    return found | {end: float(np.exp(found[end])) for end in ends}


def against_baseline(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each run / the baseline's run of its seed, in the columns of `of_runs`."""
    base = runs[runs.regime == baseline_of(runs)].drop(columns="regime")
    both = runs[runs.regime != baseline_of(runs)].merge(
        base, on=["architecture", "seed"], suffixes=("", "_base")
    )
    for name in QUANTITIES:
        both[name] = both[name] / both[f"{name}_base"]
        both[f"{name}_error"] = np.hypot(both[f"{name}_error"], both[f"{name}_error_base"])
    both["pairs"] = np.minimum(both.pairs, both.pairs_base)
    return both[[*RUN, "pairs", *QUANTITIES, *(f"{name}_error" for name in QUANTITIES)]]
