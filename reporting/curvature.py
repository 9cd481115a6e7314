"""Does flatness explain the fall? The report's tables, sentences and figure on curvature. No torch.

Prediction and measurement are of the loss on the first training images; the same measured on test
images stands beside them. Losses are in nats.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import curvature, intervals
from analysis.curvature import compare, curvature_term, validity_radius
from analysis.intervals import BASELINE, RUN
from config import PROBES
from reporting.plots import looks, set_alpha_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import NONE, Table, number, with_half

TERM = "½[L(W+ε) + L(W−ε)] − L(W)"
INTRO = (
    "To second order, noise of strength α raises the loss on average by ½ α² Σ s² tr(H): H is the "
    "Hessian of the\nloss at the trained weights, s the standard deviation of each weight tensor. "
    "Pairs ±ε measure this rise without\nthe linear term, as ½[L(W+ε) + L(W−ε)] − L(W). "
    "{probed}what is measured on {images} images is the\ncurvature of another loss, and stands "
    "apart."
)
CAPTION = "level where the second order holds, and at the predicted height where it is right"
PROBED = "Prediction and measurement are of the loss on the\nfirst"
GROUP = RUN[:2]
Radii = dict[tuple, curvature.Bounds]
"""By architecture and regime: the radius of validity."""
Ratios = dict[tuple, tuple[float, float, float, int]]
"""By architecture and regime: see `compare_traces`."""


def section(results: Results) -> Section:
    """Return measurement and prediction; without tables where no pairs were measured."""
    training, traces = results.training, results.traces
    on_training, on_test = curvature_term(training), curvature_term(results.rows)
    found, ratios = compare(on_training, traces), compare_traces(traces)
    radii, terms = find_radii(found), per_run(on_training, on_test, traces)
    tables = [trace_table(traces, radii, ratios), term_table(found), table_on_test(on_test)]
    names, title = list(terms.architecture.unique()), "Curvature of the loss"
    chart = Chart(title, draw_curvature, (terms,), names, describe_pairs, CAPTION)
    probed = f"{PROBED} {training.total.max():,} training images" if len(training) else ""
    return Section(
        "curvature",
        "Does flatness explain it?",
        intro=INTRO.format(probed=probed and f"{probed}; ", images=results.images),
        brief=probed and f"{probed}.".replace("\n", " "),
        sentences=say_flatness(radii, ratios),
        tables=tables if len(found) or len(on_test) else [],
        charts={"curvature": chart} if len(terms) else {},
        csv={"curvature.csv": terms} if len(terms) else {},
    )


def per_run(terms: pd.DataFrame, test: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and α: its curvature term and the prediction ½ α² Σ s² tr(H).

    Args:
        terms, test: from `curvature_term`, on the first training images and on the test images.
        traces: a row per run: `intervals.RUN`, trace, error (see `curvature.trace`).

    Returns:
        `intervals.RUN`, alpha, pairs, measured, measured_half (95% t-interval over the pairs),
        trace, error, predicted, test (the term on the test images). Empty without pairs on training
        images; NaN where not known.
    """
    key = [*RUN, "alpha"]
    names = {"even": "measured", "even_half": "measured_half"}
    terms = terms.rename(columns=names).drop(columns=["odd", "odd_half"])
    test = test.rename(columns={"even": "test"})
    terms = terms.merge(traces, on=RUN, how="left").merge(test[[*key, "test"]], on=key, how="left")
    return terms.assign(predicted=terms.alpha**2 * terms.trace / 2)


def trace_table(traces: pd.DataFrame, radii: Radii, ratios: Ratios) -> Table:
    """Return the traces of each architecture and regime, against the baseline, and their radius."""
    means = intervals.over_seeds(traces.assign(alpha=0.0), "trace").droplevel("alpha")
    errors = traces.groupby(GROUP, observed=True).error
    probes = np.sqrt(errors.agg(lambda x: (x**2).sum(skipna=False))) / errors.size()
    body = [
        [
            ", ".join(name),
            with_half(mean, "mean", 1, ".3g"),
            number(probes[name], 4),
            times(ratios.get(name)),
            radius_text(radii.get(name)),
            f"{mean['seeds']:.0f}",
        ]
        for name, mean in means.to_dict("index").items()
    ]
    caption = (
        f"Flatness: Σ s² tr(H) over the noisy tensors, in nats, by {PROBES} Hutchinson probes a "
        "run; mean over seeds ± half-width, and the standard error of the mean that the probes "
        f"leave. Against {BASELINE}: geometric mean of the ratios, paired by seed [95% t-interval]."
        " Radius of validity: the first α at which prediction / measurement leaves [0.5, 2], of "
        "measurements that their pairs tell from 0"
    )
    versus = f"Against {BASELINE} (×)"
    header = ["Runs", "Σ s² tr(H)", "Error of probes", versus, "Radius (α)", "n seeds"]
    return Table(caption, header, body)


def term_table(found: pd.DataFrame) -> Table:
    """Return measured and predicted curvature terms on training images by α."""
    body = [
        [
            f"{row.architecture}, {row.regime}",
            f"{row.alpha:g}",
            with_half({"x": row.measured, "half": row.measured_half}, "x", 1, ".3g"),
            with_half({"x": row.predicted, "half": row.predicted_half}, "x", 1, ".3g"),
            f"{row.probe_error:.2g}",
            number(row.ratio, 2),
            f"{row.seeds} / {row.pairs}",
        ]
        for row in found.itertuples()
    ]
    caption = (
        f"Curvature term {TERM} of the loss on the first training images, in nats, from pairs ±ε, "
        "beside the second-order prediction ½ α² Σ s² tr(H) on the same images; mean over seeds ± "
        "half-width"
    )
    header = ["Runs", "α", "Measured", "Predicted", "Error of probes", "Ratio", "n seeds / pairs"]
    return Table(caption, header, body)


def table_on_test(terms: pd.DataFrame) -> Table:
    """Return the curvature terms measured on the test images by α."""
    table = intervals.over_seeds(terms, "even")
    body = [
        [
            f"{architecture}, {regime}",
            f"{alpha:g}",
            with_half(found, "mean", 1, ".3g"),
            f"{found['seeds']}",
        ]
        for (architecture, regime, alpha), found in table.to_dict("index").items()
    ]
    caption = f"The same term {TERM} of the loss on the test images; mean over seeds ± half-width"
    return Table(caption, ["Runs", "α", "Measured", "n seeds"], body)


def find_radii(found: pd.DataFrame) -> Radii:
    """Return the radius of validity of each architecture and regime in `curvature.compare`.

    What the pairs do not tell from 0 is passed over. The spread over seeds has no say in that:
    prediction and measurement are of the same models.
    """
    return {
        name: validity_radius(part.alpha, part.predicted, part.measured, part.pair_half)
        for name, part in found.groupby(GROUP, observed=True)
    }


def radius_text(bounds: curvature.Bounds | None) -> str:
    """Return a radius: "0.7", or "> 2" if it lies beyond what was swept."""
    if bounds is None or np.isnan(bounds[0]):
        return NONE
    return f"{bounds[0]:g}" if bounds[0] == bounds[1] else f"> {bounds[0]:g}"


def say_radius(bounds: curvature.Bounds) -> str:
    """Return a radius in words."""
    if bounds[0] == bounds[1]:
        return f"at α = {bounds[0]:g}"
    return "at an unknown α" if np.isnan(bounds[0]) else f"beyond α = {bounds[0]:g}"


def compare_traces(traces: pd.DataFrame) -> Ratios:
    """Return how many times the baseline's trace that of each other regime is, paired by seed.

    Returns:
        By architecture and regime: geometric mean over seeds, the ends of its 95% t-interval (NaN
        with one seed), and the number of seeds.
    """
    base = traces[traces.regime == BASELINE].drop(columns="regime")
    both = traces[traces.regime != BASELINE].merge(
        base, on=["architecture", "seed"], suffixes=("", "_base")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        both["log"] = np.log(both.trace / both.trace_base)  # NaN if one is not positive
    out = {}
    for name, part in both.sort_values(RUN).groupby(GROUP, observed=True):
        mean, half = part.log.mean(skipna=False), intervals.half_width(part.log)
        out[name] = (*np.exp([mean, mean - half, mean + half]).tolist(), len(part))
    return out


def times(found: tuple | None) -> str:
    """Return a ratio with its interval, like "0.48 [0.4, 0.6]"."""
    if found is None or np.isnan(found[0]):
        return NONE
    mean, low, high, _ = found
    return f"{mean:.3g}" + ("" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]")


def say_flatness(radii: Radii, ratios: Ratios) -> dict[str, list[str]]:
    """Return by architecture what training with noise does to the curvature, and how far the
    second order reaches."""
    sentences: dict[str, list[str]] = {}
    for (name, regime), ratio in ratios.items():
        if not np.isnan(ratio[0]):
            sentences.setdefault(name, []).append(
                f"Trained {regime} rather than {BASELINE}, Σ s² tr(H) is multiplied by "
                f"{times(ratio)} (n = {ratio[3]} paired {'seed' if ratio[3] == 1 else 'seeds'})."
            )
    for name in dict.fromkeys(name for name, _ in radii):
        where = [f"{say_radius(b)} ({r})" for (a, r), b in radii.items() if a == name]
        sentences.setdefault(name, []).append(
            "Prediction and measurement first differ by more than a factor of two "
            f"{', '.join(where)}."
        )
    return sentences


def draw_curvature(axes: Axes, terms: pd.DataFrame) -> None:
    """Draw 2 × curvature term / α² against α: level, and equal to Σ s² tr(H), to second order.

    Args:
        axes: where to draw.
        terms: `per_run`'s rows of one architecture.
    """
    set_alpha_axis(axes, terms.alpha, zero=False)
    axes.set_yscale("log", nonpositive="clip")
    scale = 2 / terms.alpha**2
    terms = terms.assign(here=terms.measured * scale, there=terms.test * scale)
    seen = [terms.here, terms.trace]
    every = looks(terms.regime)
    names = [name for name in every if (terms.regime == name).any()]
    for i, regime in enumerate(names):
        look, mine = every[regime], terms[terms.regime == regime]
        shift = 1.03 ** (2 * i - len(names) + 1)  # regimes side by side
        color, n = look["color"], mine.seed.nunique()
        level = intervals.over_seeds(mine.drop_duplicates(RUN).assign(alpha=0.0), "trace").iloc[0]
        axes.axhline(level["mean"], color=color, linestyle=look["linestyle"], lw=1)
        axes.axhspan(level["mean"] / 2, level["mean"] * 2, color=color, alpha=0.08, lw=0)
        axes.plot(shift * mine.alpha, mine.here, "_", ms=6, color=color, alpha=0.5)
        mean = intervals.over_seeds(mine, "here").reset_index()
        label = f"{regime}: measured, n = {n} seeds".replace("1 seeds", "1 seed")
        bars = {"capsize": 2, "lw": 1.5, "linestyle": "", "marker": look["marker"]}
        axes.errorbar(shift * mean.alpha, mean["mean"], mean.half, color=color, label=label, **bars)
        other = intervals.over_seeds(mine, "there").reset_index()
        axes.plot(other.alpha, other["mean"], ":", color=color, lw=1)
        seen.append(other["mean"])
    axes.plot([], [], "-", color="#555555", lw=1, label="predicted: Σ s² tr(H), and × ½ to 2")
    axes.plot([], [], ":", color="#555555", lw=1, label="measured on test images")
    values = pd.concat(seen)
    values = values[values > 0]
    if len(values):
        axes.set_ylim(values.min() / 2, values.max() * 8)  # room for the legend
    axes.set_ylabel("2 × curvature term / α² (nats)")
    axes.legend(loc="upper left")


def describe_pairs(terms: pd.DataFrame) -> str:
    """Return ", 5 pairs ±ε per seed and α" for a panel's title."""
    if terms.empty:
        return ""
    low, high = terms.pairs.min(), terms.pairs.max()
    return f", {low if low == high else f'{low} to {high}'} pairs ±ε per seed and α"
