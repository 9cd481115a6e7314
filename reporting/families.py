"""How accuracy falls under further families of noise: table, chart, families.csv. No torch."""

import functools

import pandas as pd
from matplotlib.axes import Axes

import noises
from analysis import intervals
from reporting.accuracy import draw_curves, main_table
from reporting.results import Results
from reporting.section import Chart, Section
from reporting.text import Table


def section(results: Results) -> Section:
    """Return what was measured under other noise than the Gaussian; empty where nothing was."""
    tables: list[Table] = []
    charts: dict[str, Chart] = {}
    frames: list[pd.DataFrame] = []
    for family, rows in results.families.items():
        means, effects = intervals.mean_accuracy(rows), intervals.paired_effects(rows)
        names = [name for name in results.architectures if (rows.architecture == name).any()]
        tables += [of_family(family, main_table(means, effects, name)) for name in names]
        draw = functools.partial(draw_family, family)
        curves = (rows, intervals.draw_means(rows), means)
        charts[f"noise-{family}"] = Chart(f"Accuracy under {family}", draw, curves, names)
        frames.append(make_csv(family, means, effects))
    intro = "Strength 1 is, of " + "; of ".join(
        f"{family}, {noises.find(family).meaning}" for family in results.families
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
    axes.set_xlabel(f"strength of {family}")


def make_csv(family: str, means: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """Return a row per architecture, regime and strength: mean accuracy (a fraction) with its 95%
    t-interval over seeds, and the paired effect with its simultaneous one."""
    key = ["architecture", "regime", "alpha"]
    both = means.merge(
        effects[[*key, "effect", "half", "verdict"]], on=key, how="left", suffixes=("", "_effect")
    )
    columns = {"alpha": "strength", "mean": "accuracy", "half_effect": "effect_half"}
    both = both.rename(columns=columns)
    both.insert(0, "noise", family)
    wanted = ["noise", "architecture", "regime", "strength", "seeds", "accuracy", "half", "drop"]
    return both[[*wanted, "effect", "effect_half", "verdict"]]
