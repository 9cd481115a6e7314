"""Do equal sizes of different noise hurt equally? Every family on one axis: sizes.csv. No torch.

The size of a measurement is the realised RMS(w' − w)/std(W) over the noisy weights, which is α
itself for the Gaussian family.
"""

import functools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import curves
from analysis.intervals import RUN, over_seeds
from reporting.plots import DASHES, HUES, MARKERS, set_alpha_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table, find, number

INTRO = (
    "Every noise on one axis, its realised size RMS(w' − w)/std(W) over all noisy weights: α is "
    "that of the Gaussian one. Where curves lie on each other, equal sizes hurt equally."
)


def section(results: Results) -> Section:
    """Return every family over the realised size; empty where only the Gaussian was measured."""
    if not results.families:
        return Section("sizes")
    frames = {"gaussian": results.rows.assign(size=results.rows.alpha), **results.families}
    both = pd.concat({name: over_draws(rows) for name, rows in frames.items()}, names=["noise"])
    both = both.reset_index("noise")
    names = [name for name in results.architectures if (both.architecture == name).any()]
    charts = {
        f"sizes-{regime}": Chart(
            f"Accuracy against the size of the noise, trained {regime}",
            functools.partial(draw_families, regime),
            (both,),
            names,
            describe=lambda rows: "",
        )
        for regime in both.regime.cat.categories
        if (both.regime == regime).any()
    }
    return Section(
        "sizes",
        title="One axis for all noise",
        intro=INTRO,
        brief=INTRO,
        tables=[halfway_table(both, name, results) for name in names],
        charts=charts,
        csv={"sizes.csv": both},
    )


def over_draws(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and strength: size (root of the mean square over draws), accuracy (a
    fraction, over all images of all draws) and draws."""
    plus = rows[rows.sign > 0]
    groups = plus.assign(square=plus["size"] ** 2).groupby([*RUN, "alpha"], observed=True)
    table = groups.agg(
        square=("square", "mean"),
        correct=("correct", "sum"),
        total=("total", "sum"),
        draws=("draw", "size"),
    ).reset_index()
    table["size"] = np.sqrt(table.square)
    table["accuracy"] = table.correct / table.total
    table = table.rename(columns={"alpha": "strength"})
    return table[[*RUN, "strength", "size", "accuracy", "draws"]]


def find_halfway(table: pd.DataFrame, chance: float) -> float:
    """Return the size at which a run's accuracy is halfway between that without noise and chance;
    NaN where its strengths do not reach it, or pass it with the first of them."""
    start = table[table.strength == 0].accuracy
    noisy = table[table.strength > 0].sort_values("size")
    if start.empty or noisy.empty:
        return float("nan")
    half = (start.iloc[0] + chance) / 2
    low, high = curves.crossing(noisy["size"].to_numpy(), noisy.accuracy.to_numpy(), half)
    return low if low == high else float("nan")


def halfway_table(both: pd.DataFrame, architecture: str, results: Results) -> Table:
    """Return the size at halfway to chance, by family and regime."""
    mine = both[both.architecture == architecture]
    key = ["noise", *RUN]
    chance = results.chance_of(architecture)
    found = [(*name, find_halfway(part, chance)) for name, part in mine.groupby(key, observed=True)]
    sizes = pd.DataFrame(found, columns=[*key, "size"])
    sizes["log"] = np.log(sizes["size"])
    regimes = [r for r in mine.regime.cat.categories if (mine.regime == r).any()]
    body = []
    for family in dict.fromkeys(sizes.noise):
        # over_seeds groups by architecture, regime and alpha: there is one "alpha", the halfway
        part = sizes[sizes.noise == family].assign(alpha=0.0)
        means = over_seeds(part, "log")
        cells = [say_ratio(find(means, (architecture, regime, 0.0))) for regime in regimes]
        body.append([family, *cells])
    caption = (
        f"{architecture}: size of the noise halfway to chance, geometric mean over seeds [95% "
        "t-interval, each by itself] (n); – where the strengths do not close in on it"
    )
    return Table(caption, ["Noise", *regimes], body)


def say_ratio(found: dict) -> str:
    """Return a mean of logarithms with its interval as "1.2 [1.1, 1.3] (n = 3)"."""
    if not found or not found["seeds"]:
        return number(None)
    mean, low, high = np.exp([found["mean"], found["low"], found["high"]])
    interval = f" [{low:.3g}, {high:.3g}]" if np.isfinite(low) else ""
    return f"{mean:.3g}{interval} (n = {found['seeds']:.0f})"


def draw_families(regime: str, axes: Axes, both: pd.DataFrame) -> None:
    """Draw the mean accuracy over seeds of each family against its realised size."""
    mine = both[(both.regime == regime) & (both.strength > 0)]
    set_alpha_axis(axes, mine["size"].round(3), zero=False)
    for i, family in enumerate(dict.fromkeys(mine.noise)):
        means = mine[mine.noise == family].groupby("strength")[["size", "accuracy"]].mean()
        look = {"color": HUES[i % len(HUES)], "linestyle": DASHES[i // len(HUES) % len(DASHES)]}
        axes.plot(means["size"], means.accuracy, **look, marker=MARKERS[i % 6], ms=3, label=family)
    axes.set(ylabel="accuracy (fraction)", ylim=(0, 1.02))
    axes.set_xlabel("realised size of the noise (RMS change / std)")
    axes.legend(loc="lower left", fontsize=6)
