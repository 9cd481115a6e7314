"""How accuracy falls under further families of noise: table, chart, families.csv. No torch."""

import functools

import pandas as pd
from matplotlib.axes import Axes

import noises
from analysis import intervals
from analysis.endpoints import TOLERANCE, endpoints
from reporting import plots
from reporting.accuracy import draw_curves, main_table
from reporting.endpoints import say_tolerance
from reporting.results import Results
from reporting.scale import find_scale
from reporting.section import Chart, Section
from reporting.text import Table

TOLERANCES = (
    "Tolerance under each noise: the strength halfway to chance, in the regime over the baseline, "
    "paired by seed, with 95% intervals that hold together for one architecture and noise (over "
    "these and the cost). Where the range of a noise ends before the break, it is a bound"
)
"""What the table of tolerances holds."""


def section(results: Results) -> Section:
    """Return what was measured under other noise than the Gaussian; empty where nothing was."""
    tables: list[Table] = []
    charts: dict[str, Chart] = {}
    frames: list[pd.DataFrame] = []
    tolerances: list[list[str]] = []
    for family, rows in results.families.items():
        means, effects = intervals.mean_accuracy(rows), intervals.paired_effects(rows)
        names = [name for name in results.architectures if (rows.architecture == name).any()]
        show = noises.find(family).say
        tables += [of_family(family, main_table(means, effects, name, show)) for name in names]
        tolerances += say_tolerances(family, rows, effects)
        draw = functools.partial(draw_family, family)
        curves = (rows, intervals.draw_means(rows), means)
        title = f"Accuracy under {family}"
        charts[f"noise-{family}"] = Chart(title, draw, curves, names, describe_draws)
        frames.append(make_csv(family, means, effects))
    intro = "Strength 1 is, of " + "; of ".join(
        f"{family}, {noises.find(family).meaning}" for family in results.families
    )
    if tolerances:
        tables.insert(
            0, Table(TOLERANCES, ["Noise", "Architecture", "Regime", "Tolerance"], tolerances)
        )
    return Section(
        "families",
        title="Other noise" if tables else "",
        intro=f"{intro}." if tables else "",
        brief=f"{intro}." if tables else "",
        tables=tables,
        charts=charts,
        csv={"families.csv": pd.concat(frames)} if frames else {},
    )


def of_family(family: str, table: Table) -> Table:
    """Return the main table of an architecture as one of a family: its strengths are no α."""
    caption = table.caption.replace("non-zero α", "non-zero strengths")
    return Table(f"{family} on {caption}", ["Strength", *table.header[1:]], table.body)


def draw_family(family: str, axes: Axes, *frames: pd.DataFrame) -> None:
    """Draw accuracy against the strength of a family, as `accuracy.draw_curves` does for α."""
    draw_curves(axes, *frames)
    show, rows = noises.find(family).say, frames[0]
    if show(1.0) != "1":  # a time, or bits: what people write
        ticks, labels = zip(*find_scale(rows).ticks(rows.alpha, show))
        axes.set_xticks(ticks, labels, rotation=45, ha="right", fontsize=7)
    axes.set_xlabel(f"strength of {family}")


def describe_draws(rows: pd.DataFrame) -> str:
    """Return how many draws there are, as in the charts of α."""
    return plots.describe_draws(rows).replace(" and α", " and strength")


def say_tolerances(family: str, rows: pd.DataFrame, effects: pd.DataFrame) -> list[list[str]]:
    """Return a row for each architecture and regime: how much more of the noise it stands."""
    table = endpoints(rows, effects=effects)
    mine = table[table.endpoint == TOLERANCE]
    return [
        [family, row["architecture"], row["regime"], say_tolerance(row).removeprefix("tolerance ")]
        for row in mine.to_dict("records")
    ]


def make_csv(family: str, means: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """Return a row per architecture, regime and strength: mean accuracy (a fraction) with its 95%
    t-interval over seeds, and the paired effect with the interval that its word is read from."""
    key = ["architecture", "regime", "alpha"]
    both = means.merge(
        effects[[*key, "effect", "low", "high", "kind", "verdict"]],
        on=key,
        how="left",
        suffixes=("", "_effect"),
    )
    columns = {"alpha": "strength", "mean": "accuracy"}
    columns |= {"low_effect": "effect_low", "high_effect": "effect_high", "kind": "effect_kind"}
    both = both.rename(columns=columns)
    both.insert(0, "noise", family)
    wanted = ["noise", "architecture", "regime", "strength", "seeds", "accuracy", "half", "drop"]
    return both[[*wanted, "effect", "effect_low", "effect_high", "effect_kind", "verdict"]]
