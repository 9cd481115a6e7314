"""Which noise does a way of training protect against? A figure, protection.csv. No torch.

Each noise is taken at one strength: of those that both regimes have in every pair, that at which
the baseline is nearest to halfway to chance. Where its range ends long before, or steps over
halfway, that is far from it, and says little of protection: `lost` tells. What the regime keeps
there beyond the baseline is the effect of the report, with the interval that holds together over
all strengths, so that choosing one of them costs nothing. Models with BatchNorm are compared under
both policies, baseline and regime under the same one.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import noises
from analysis.intervals import baseline_of, mean_accuracy, paired_effects
from config import REESTIMATED
from reporting.curve_table import FROZEN, each_sweep
from reporting.plots import looks
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table

TITLE = "What training protects against"
INTRO = (
    "Points of accuracy that a regime keeps beyond {baseline}, under each noise at the strength, "
    "of those measured in every pair, at which {baseline} is nearest to halfway to chance. Its "
    "accuracy there stands behind the strength: where a noise's range ends long before, or steps "
    "over halfway, it says little of protection. "
    "Means over paired seeds; 95% intervals hold together over all strengths of a noise, each "
    "noise by itself; pale where unresolved.{policies}"
)
POLICIES = (
    " Where a model has BatchNorm, that is with its statistics frozen, and, hollow, re-estimated "
    "under the very noise, for both."
)
COLUMNS = [
    *("noise", "batchnorm", "architecture", "regime", "strength", "seeds", "accuracy", "lost"),
    *("effect", "effect_low", "effect_high", "effect_kind", "verdict"),
]


def section(results: Results) -> Section:
    """Return what each regime protects against; empty without other noise than the Gaussian."""
    if not results.families or results.effects.empty:
        return Section("protection")
    parts = [
        at_the_break(rows, results).assign(noise=family, batchnorm=policy)
        for family, policy, rows in each_sweep(results)
    ]
    parts = [part for part in parts if len(part)]  # an empty one would undo the columns' kinds
    if not parts:
        return Section("protection")
    found = pd.concat(parts)[COLUMNS].reset_index(drop=True)
    policies = POLICIES if results.reestimated else ""
    intro = INTRO.format(baseline=baseline_of(results.rows), policies=policies)
    names = [name for name in results.architectures if (found.architecture == name).any()]
    return Section(
        "protection",
        title=TITLE,
        intro=intro,
        brief=intro,
        tables=[say_table(found[found.architecture == name], name) for name in names],
        charts={"protection": Chart(TITLE, draw, (found,), names, lambda rows: "")},
        csv={"protection.csv": found},
    )


def at_the_break(rows: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Return the effects of one sweep at the strength that hits the baseline half: `COLUMNS`.

    Accuracy is the baseline's there, a fraction, as effect and its ends are; lost is what share of
    its way to chance it has gone.
    """
    means, baseline, effects = mean_accuracy(rows), baseline_of(rows), paired_effects(rows)
    out = []
    for name, own in effects[effects.alpha > 0].groupby("architecture", observed=True):
        base = means[(means.architecture == name) & (means.regime == baseline)]
        base = base.set_index("alpha")["mean"]
        if 0 not in base:
            continue
        chance = results.chance_of(name)
        half = (base[0] + chance) / 2
        strengths = [a for a in sorted(set(own.alpha)) if a in base]
        at = min(strengths, key=lambda a: abs(base[a] - half))
        lost = (base[0] - base[at]) / (base[0] - chance)
        out.append(own[own.alpha == at].assign(accuracy=base[at], lost=lost))
    if not out:
        return pd.DataFrame(columns=COLUMNS)
    names = {"alpha": "strength", "low": "effect_low", "high": "effect_high", "kind": "effect_kind"}
    return pd.concat(out).rename(columns=names)


def say_strength(family: str, *strengths: float) -> str:
    """Return a noise with its strength, as "pcm 8 h"; several are those of the two policies."""
    return f"{family} {' / '.join(map(noises.find(family).say, strengths))}"


def say_table(mine: pd.DataFrame, architecture: str) -> Table:
    """Return a row per noise, BatchNorm policy and regime of one architecture."""
    named = {FROZEN: "", REESTIMATED: ", BatchNorm re-estimated"}
    body = [
        [
            say_strength(row["noise"], row["strength"]) + named[row["batchnorm"]],
            row["regime"],
            f"{row['accuracy']:.4f}",
            f"{100 * row['effect']:+.2f} [{100 * row['effect_low']:+.2f}, "
            f"{100 * row['effect_high']:+.2f}]",
            row["verdict"],
        ]
        for row in mine.to_dict("records")
    ]
    header = ["Noise", "Regime", "Baseline's accuracy", "Effect, points", "Verdict"]
    seeds = f"{mine.seeds.min()}" if mine.seeds.nunique() == 1 else "several numbers of"
    return Table(f"{architecture}, {seeds} paired seeds", header, body)


def draw(axes: Axes, found: pd.DataFrame) -> None:
    """Draw a row per noise, regimes and policies one below the other, no further than ±100 points;
    pale where unresolved, hollow where BatchNorm was re-estimated."""
    families = list(dict.fromkeys(found.noise))[::-1]
    style = looks(found.regime)
    kinds = list(dict.fromkeys(zip(found.batchnorm, found.regime)))
    for i, (policy, regime) in enumerate(kinds):
        mine = found[(found.regime == regime) & (found.batchnorm == policy)]
        y = np.array([families.index(name) for name in mine.noise]) - 0.6 * (
            (i + 0.5) / len(kinds) - 0.5
        )
        x, low, high = (100 * mine[name] for name in ("effect", "effect_low", "effect_high"))
        ends = np.abs([x - low.fillna(x), high.fillna(x) - x])
        look = {"color": style[regime]["color"], "marker": style[regime]["marker"]}
        if policy == REESTIMATED:
            look["markerfacecolor"] = "white"
        name = regime if policy == FROZEN else f"{regime}, re-estimated"
        for known in (True, False):
            at = ((mine.verdict != "unresolved") == known).to_numpy()
            shown = {"label": name} if known else {"alpha": 0.4}
            axes.errorbar(x[at], y[at], xerr=ends[:, at], ls="", ms=3, lw=1, **look, **shown)
    axes.axvline(0, color="#555555", lw=0.8, zorder=0)
    once = found.drop_duplicates(["noise", "batchnorm"]).groupby("noise")
    labels = [say_strength(name, *once.get_group(name).strength.unique()) for name in families]
    hit = [" / ".join(f"{a:.0%}" for a in once.get_group(name).accuracy) for name in families]
    labels = [f"{label} → {accuracy}" for label, accuracy in zip(labels, hit)]
    axes.set_yticks(range(len(families)), labels, fontsize=5.5)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:g}")
    low, high = max(min(axes.get_xlim()[0], -1.2), -100), min(max(axes.get_xlim()[1], 1.2), 100)
    axes.set_xlim(low, high)
    axes.set_xticks([t for t in (-100, -10, -1, 0, 1, 10, 100) if low <= t <= high])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("points kept (log beyond ±1)")
    if len(kinds) > 1:
        axes.set_ylim(-0.6, len(families) - 0.4 + 0.12 * len(families))  # room for the legend
        axes.legend(loc="upper left", ncols=2, fontsize=6)
