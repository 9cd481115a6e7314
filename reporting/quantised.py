"""Does tolerance to Gaussian noise predict what rounding costs? A figure, quantised.csv. No torch.

Over models (architecture × regime × seed): α₅₀ under Gaussian noise beside the drop of accuracy
when the trained weights are rounded to nearest at few bits.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

import noises
from analysis import curves
from analysis.intervals import RUN, draw_means
from reporting.plots import HUES, MARKERS, set_points_axis
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import NONE, Table

ROUNDING = ("quantization", "quantization_channel")
LEAST_MODELS = 5
"""A correlation over fewer says nothing."""
INTRO = (
    "Spearman's rank correlation over models between α₅₀ under Gaussian noise and the drop of "
    "accuracy at a number of bits, with its 95% interval (Fisher's z with Bonett and Wright's "
    "variance, 2000). Negative: the more tolerant lose less. Models of one architecture are alike, "
    "so that over several architectures n overstates what is known."
)


def section(results: Results) -> Section:
    """Return the drop at each number of bits beside the tolerance; empty without rounding."""
    tables, charts, frames = [], {}, []
    for family in (name for name in ROUNDING if name in results.families):
        both = drops(results.rows, results.families[family])
        if both.empty:
            continue
        tables.append(correlation_table(both, family))
        panel = both.assign(architecture=[noises.find(family).say(s) for s in both.strength])
        names = [noises.find(family).say(s) for s in sorted(set(both.strength))]
        title = f"Drop under {family} against tolerance to Gaussian noise"
        charts[f"quantised-{family}"] = Chart(
            title, draw_drops, (panel.assign(model=both.architecture),), names, lambda rows: ""
        )
        frames.append(both.assign(noise=family))
    return Section(
        "quantised",
        title="Gaussian tolerance and rounding" if tables else "",
        intro=INTRO if tables else "",
        brief=INTRO if tables else "",
        tables=tables,
        charts=charts,
        csv={"quantised.csv": pd.concat(frames)} if frames else {},
    )


def drops(gaussian: pd.DataFrame, rounded: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and strength of rounding: `RUN`, strength, drop (a fraction), and
    alpha_half (NaN where it is not known)."""
    metrics = curves.curve_metrics(gaussian)
    half = metrics[(metrics.metric == "alpha_half") & (metrics.low == metrics.high)]
    table = draw_means(rounded)
    table = table[table.alpha > 0].rename(columns={"alpha": "strength"})
    table = table.merge(half[[*RUN, "low"]], on=RUN, how="left").rename(
        columns={"low": "alpha_half"}
    )
    return table[[*RUN, "strength", "drop", "alpha_half"]]


def correlate(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return Spearman's ρ of two samples, (n,), and its 95% interval; NaN for too few or constants.

    On Fisher's z scale the standard error is √((1 + ρ²/2)/(n − 3)) (Bonett and Wright, 2000,
    Psychometrika 65, 23–28, eq. 3)."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < LEAST_MODELS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return (float("nan"),) * 3
    rho = float(stats.spearmanr(x, y).statistic)
    z = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    half = stats.norm.isf(0.025) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    return rho, float(np.tanh(z - half)), float(np.tanh(z + half))


def correlation_table(both: pd.DataFrame, family: str) -> Table:
    """Return the correlation at each strength, over all models and within each architecture."""
    groups = {"all": both}
    for name in dict.fromkeys(both.architecture):
        groups[name] = both[both.architecture == name]
    body = []
    for strength in sorted(set(both.strength)):
        for name, part in groups.items():
            mine = part[part.strength == strength]
            rho, low, high = correlate(mine.alpha_half.to_numpy(), mine["drop"].to_numpy())
            text = NONE if np.isnan(rho) else f"{rho:+.2f} [{low:+.2f}, {high:+.2f}]"
            worst = f"{100 * mine['drop'].mean():z.2f}"
            body.append([noises.find(family).say(strength), name, text, worst, f"{len(mine)}"])
    header = [family, "Models", "Correlation", "Mean drop (points)", "n models"]
    return Table(f"{family}: α₅₀ under Gaussian noise and the drop", header, body)


def draw_drops(axes: Axes, both: pd.DataFrame) -> None:
    """Draw the drop at one number of bits against α₅₀, a point per model."""
    for i, name in enumerate(dict.fromkeys(both.model)):
        mine = both[both.model == name]
        for j, (regime, part) in enumerate(mine.groupby("regime", observed=True)):
            look = {"marker": MARKERS[j % len(MARKERS)], "color": HUES[i % len(HUES)]}
            axes.plot(
                part.alpha_half, 100 * part["drop"], linestyle="", **look, label=f"{name} {regime}"
            )
    axes.set_xscale("log")
    axes.set_xlabel("α₅₀ under Gaussian noise")
    set_points_axis(axes, "drop")
    axes.legend(loc="upper right", fontsize=6)
