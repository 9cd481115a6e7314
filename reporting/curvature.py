"""Does flatness explain the fall? The report's tables and sentences on curvature. No torch.

Prediction and measurement are of the loss on the first training images, over the same draws. Losses
are in nats.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis import curves, flatness, intervals
from analysis.curvature import curvature_term, pair_terms, rise
from analysis.flatness import FACTOR, SMALL, WHO
from analysis.intervals import RUN
from reporting.curvature_chart import describe_pairs, draw_curvature
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import NONE, Table, bounds, number, span, with_half

TERM = "½[L(W+ε) + L(W−ε)] − L(W)"
INTRO = (
    "To second order, noise of strength α raises the loss on average by ½ α² C. C is measured by "
    "pairs ±ε, which\nare without the linear term, as 2/α² times ½[L(W+ε) + L(W−ε)] − L(W); and "
    "taken from the Hessian H of the loss\nat the trained weights, as the mean of zᵀSHSz over the "
    "same draws ε = α S z, which is Σ s² tr(H) with s the\nstandard deviation of each weight "
    "tensor. The Hessian is that of the smooth pieces: what crossing the kinks of\nReLUs and "
    "maxima adds, which is of order α² too, is in the measurement alone. "
)
PROBED = "Both are of the loss on the\nfirst {:,} training images."
CAPTION = "level where the second order holds"
NEAR = 0.9
"""A share that may be this large is not called a failure to predict."""
LACKS = "the rest is of the same order and not in it, as are the kinks of ReLUs and maxima"
Found = dict[tuple, dict]
"""By architecture and regime: a quantity over seeds, see `flatness.over_seeds`."""


def section(results: Results) -> Section:
    """Return measurement and prediction; without tables where no pairs were measured."""
    pairs = pair_terms(results.training, results.forms)
    if pairs.empty:
        return Section("curvature")
    runs, terms = flatness.of_runs(pairs), per_run(pairs, results.rows)
    metrics = curves.curve_metrics(results.rows)
    half = metrics[metrics.metric == "alpha_half"]
    breaks, gains = curves.metrics_over_seeds(half), curves.paired_metrics(half)
    names, title = list(terms.architecture.unique()), "Curvature of the loss"
    chart = Chart(title, draw_curvature, (terms, runs), names, describe_pairs, CAPTION)
    probed = PROBED.format(results.training.total.max())
    return Section(
        "curvature",
        "Does flatness explain it?",
        intro=INTRO + probed,
        brief=probed.replace("\n", " "),
        sentences={name: say_flatness(runs, breaks, gains, name) for name in names},
        tables=[flat_table(runs, breaks), term_table(terms)],
        charts={"curvature": chart},
        csv={"curvature.csv": terms, "flatness.csv": runs},
    )


def per_run(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and α: its curvature term and what the Hessian predicts of it.

    Args:
        pairs: from `curvature.pair_terms`.
        rows: the measurements on test images.

    Returns:
        `intervals.RUN`, alpha, pairs, measured, measured_half, predicted, predicted_half (95%
        t-intervals over the pairs), rise (of the loss on the test images, mean over draws), in
        nats; NaN where not known.
    """
    terms = curvature_term(pairs).rename(columns={"even": "measured", "even_half": "measured_half"})
    names = ["pairs", "measured", "measured_half", "predicted", "predicted_half"]
    return terms[[*RUN, "alpha", *names]].merge(rise(rows), on=[*RUN, "alpha"], how="left")


def by_group(runs: pd.DataFrame, of: Callable[[pd.DataFrame], dict]) -> Found:
    """Return what a function finds in the runs of each architecture and regime."""
    return {name: of(part) for name, part in runs.groupby(WHO, observed=True)}


def quantity(runs: pd.DataFrame, name: str) -> Found:
    """Return one quantity over the seeds of each architecture and regime."""
    return by_group(runs, lambda part: flatness.over_seeds(part, name))


def flat_table(runs: pd.DataFrame, breaks: pd.DataFrame) -> Table:
    """Return what is known of each architecture and regime at small α, and how far it reaches.

    Args:
        runs: from `flatness.of_runs`.
        breaks: α₅₀ over seeds, from `curves.metrics_over_seeds`.
    """
    own = {name: quantity(runs, name) for name in flatness.QUANTITIES}
    ratios = flatness.against_baseline(runs)
    times = {name: quantity(ratios, name) for name in ("measured", "trace")}
    radii = by_group(runs, flatness.radius_over_seeds)
    halves = breaks.set_index(WHO).to_dict("index")
    pairs = by_group(runs, lambda part: {"low": part.pairs.min(), "high": part.pairs.max()})
    body = [
        [
            ", ".join(who),
            *(interval(own[name][who]) for name in flatness.QUANTITIES),
            *(interval(times[name].get(who)) for name in times),
            bounds(radii[who], log=True),
            bounds(halves.get(who, {}), log=True),
            f"{own['measured'][who]['seeds']} / {span(**pairs[who])}",
        ]
        for who in own["measured"]
    ]
    baseline = intervals.baseline_of(runs)
    caption = (
        f"Flatness at small α (≤ {SMALL:g}): C as measured, Σ s² tr(H) over the same draws, both "
        "in nats, and their ratio; geometric means [95% t-intervals, each by itself: over seeds, "
        "or over pairs where there is one seed; of these images]. "
        f"Against {baseline}: paired by seed. Radius: the "
        f"α at which 2·term/α² has left its own value at small α by a factor of {FACTOR:g}"
    )
    versus = [f"{name} against {baseline} (×)" for name in ("Measured", "Trace")]
    header = ["Runs", "Measured C", "Σ s² tr(H)", "Hessian / measured", *versus]
    return Table(caption, [*header, "Radius (α)", "α₅₀", "n seeds / pairs"], body)


def term_table(terms: pd.DataFrame) -> Table:
    """Return measured and predicted curvature terms by α, over seeds."""
    names = ("measured", "predicted", "rise")
    found = {name: intervals.over_seeds(terms, name).to_dict("index") for name in names}
    pairs = terms.groupby([*WHO, "alpha"], observed=True).pairs.min()
    body = []
    for key, measured in found["measured"].items():
        predicted = found["predicted"][key]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.divide(predicted["mean"], measured["mean"])
        cells = (with_half(found[name][key], "mean", 1, ".3g") for name in names)
        counts = f"{measured['seeds']} / {pairs[key]}"
        body.append([f"{key[0]}, {key[1]}", f"{key[2]:g}", *cells, number(ratio, 2), counts])
    caption = (
        f"Curvature term {TERM} of the loss on the first training images, from pairs ±ε, beside ½ "
        "α² zᵀSHSz of the same draws; and the rise of the loss on the test images, of other draws "
        "and with the linear term; in nats, means over seeds ± half-widths"
    )
    columns = ["Measured", "Hessian", "Rise on test images", "Hessian / measured"]
    return Table(caption, ["Runs", "α", *columns, "n seeds / pairs"], body)


def say_flatness(
    runs: pd.DataFrame, breaks: pd.DataFrame, gains: pd.DataFrame, architecture: str
) -> list[str]:
    """Return what an architecture's curvature is, and what it explains.

    Args:
        runs: from `flatness.of_runs`.
        breaks: α₅₀ over seeds, from `curves.metrics_over_seeds`.
        gains: the same against the baseline, of each seed, from `curves.paired_metrics`.
    """
    mine, broken, gained = (t[t.architecture == architecture] for t in (runs, breaks, gains))
    ratios = flatness.against_baseline(mine)
    baseline, vague = intervals.baseline_of(runs), flatness.vague(mine)
    sentences = [say_share(mine)]
    for regime, part in ratios.groupby("regime", observed=True):
        measured, trace = (flatness.over_seeds(part, name) for name in ("measured", "trace"))
        if not np.isnan(measured["mean"]):
            rests = vague[vague.regime.isin([regime, baseline])]
            sentences.append(say_ratio(regime, baseline, measured, trace, judged=rests.empty))
            more = gained[gained.regime == regime]
            said = say_gain(regime, measured, part, more, judged=rests.empty) if len(more) else ""
            sentences.append(said)
            sentences += [say_vague(rests)] if len(rests) else []
    return [*filter(None, sentences), say_radii(mine, broken)]


def say_share(runs: pd.DataFrame) -> str:
    """Return how much of the measured curvature the Hessian has; nothing where it is not known."""
    shares = {who[1]: found for who, found in quantity(runs, "share").items()}
    shares = {r: found for r, found in shares.items() if not np.isnan(found["mean"])}
    if not shares:
        return ""
    listed = ", ".join(f"{interval(found)} ({regime})" for regime, found in shares.items())
    below = [r for r, found in shares.items() if found["high"] < NEAR]
    little = [r for r, found in shares.items() if NEAR <= found["high"] < 1]
    above = [r for r, found in shares.items() if found["low"] > 1 / NEAR]
    words = [f"it does not predict it in {', '.join(below)}: {LACKS}"] if below else []
    words += [f"a little is missing in {', '.join(little)}"] if little else []
    words += [f"it predicts more than there is in {', '.join(above)}"] if above else []
    said = "; ".join(words) or "no difference from all of it is resolved"
    return f"The Hessian has {listed} of the curvature measured at small α; {said}."


def say_ratio(regime: str, baseline: str, measured: dict, trace: dict, judged: bool = True) -> str:
    """Return whether training in a regime made the loss flatter."""
    word = "flatter" if measured["high"] < 1 else "sharper" if measured["low"] > 1 else "unresolved"
    word = word if judged else "not judged"
    seeds = measured["seeds"]
    return (
        f"Trained {regime} rather than {baseline}, the measured curvature is multiplied by "
        f"{interval(measured)}: {word}; Σ s² tr(H) by {interval(trace)} (n = {seeds} paired "
        f"seed{'s' if seeds > 1 else ''})."
    )


def say_vague(runs: pd.DataFrame) -> str:
    """Return which models a comparison rests on that their pairs say little of."""
    named = (f"{row.regime}, seed {row.seed} ({row.pairs} pairs)" for row in runs.itertuples())
    return (
        f"Not told from 0 by its own pairs is the measured curvature of {'; '.join(named)}: it may "
        "weigh most in a mean of logarithms, and nothing is to be read from these ratios."
    )


def say_gain(
    regime: str, measured: dict, ratios: pd.DataFrame, gains: pd.DataFrame, judged: bool = True
) -> str:
    """Return how much more noise that flatness would let a model stand, beside what it stands, and
    what is left of that, seed by seed.

    Were the loss of second order throughout, it would be as high as the baseline's at 1/√ratio
    times its α.

    Args:
        regime: its name.
        measured, ratios: its curvature / the baseline's, over seeds and of each.
        gains: its α₅₀ / the baseline's, a row per seed, from `curves.paired_metrics`.
        judged: whether the ratios bear a verdict.
    """
    gain = curves.mean_bounds(gains)
    if not gain["seeds"] or gain["mean_low"] <= 0:
        return ""
    ends = {name: measured[name] ** -0.5 for name in ("mean", "low", "high")}
    expected = {"mean": ends["mean"], "low": ends["high"], "high": ends["low"]}
    both = gains.merge(ratios[["seed", "measured"]], on="seed")
    root = both.measured**0.5
    left = curves.mean_bounds(both.assign(low=both.low * root, high=both.high * root))
    return (
        f"That would raise α₅₀ by a factor of {interval(expected)}, were the loss of second order "
        f"throughout; {regime} stands {bounds(gain, log=True)} times the noise"
        f"{say_left(left, measured) if judged else ''}."
    )


def say_left(left: dict, measured: dict) -> str:
    """Return what of a gain is left when that which flatness allows is divided off."""
    if not np.isfinite([left["low"], left["high"]]).all():
        return ""
    part = left["low"] > 1 and measured["high"] < 1
    apart = "flatness does not explain " + ("all of it" if part else "it")
    word = apart if left["low"] > 1 or left["high"] < 1 else "the two are not told apart"
    return f", {bounds(left, log=True)} times what that allows, seed by seed: {word}"


def say_radii(runs: pd.DataFrame, breaks: pd.DataFrame) -> str:
    """Return how far the second order reaches, and whether that is to the break."""
    radii = {who[1]: found for who, found in by_group(runs, flatness.radius_over_seeds).items()}
    halves = breaks.set_index("regime").to_dict("index")
    parts = []
    for regime, found in radii.items():
        text = bounds(found, log=True).partition(" (n")[0]
        text = f"α {text}" if text.startswith(">") else f"α = {text}"
        half = halves.get(regime, {})
        known = half.get("seeds") and half["mean_low"] > 0
        there = f", α₅₀ = {bounds(half, log=True).partition(' (n')[0]}" if known else ""
        parts.append(f"{text} ({regime}{there})")
    return f"The second order holds within a factor of {FACTOR:g} up to {'; '.join(parts)}."


def interval(found: dict | None) -> str:
    """Return a mean with its interval, like "0.48 [0.4, 0.6]"."""
    if found is None or np.isnan(found["mean"]):
        return NONE
    ends = "" if np.isnan(found["low"]) else f" [{found['low']:.3g}, {found['high']:.3g}]"
    return f"{found['mean']:.3g}{ends}"
