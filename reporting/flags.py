"""What of the data is not of the kind that the intervals are good for: a table. No torch."""

import pandas as pd

from analysis.intervals import GROUP, RUN
from analysis.shape import COLLAPSED, most_collapses
from reporting.results import Results
from reporting.section import Section
from reporting.text import Table
from reporting.words import FLAGGED, say_alphas

INTRO = (
    f"Verdicts marked {FLAGGED} rest on data that are not about normal, for which an interval over "
    "a few seeds covers less than it says. {simulated} {collapses}"
)
SIMULATED = (
    "In simulations, intervals that hold together covered {skewed} of skewed draws, and "
    "{collapsing} where one seed in ten of a regime collapses (3 to 10 seeds; "
    "benchmarks/STATISTICS.md)."
)
COVERED = {"skewed": "84 to 100%", "collapsing": "25 to 68%"}
"""What `benchmarks/simulate.py` found; a test compares it with its output."""


def section(results: Results) -> Section:
    """Return what is flagged; without tables where nothing is."""
    rows = results.rows
    table = flags_table(results.flags, rows)
    seeds = rows[RUN].drop_duplicates().groupby(RUN[:2], observed=True).size()
    intro = (
        INTRO.format(
            simulated=SIMULATED.format(**COVERED), collapses=say_collapses(int(seeds.min()))
        )
        if table.body
        else ""
    )
    return Section(
        "flags",
        title="To be read with care",
        intro=intro,
        brief=intro,
        tables=[table] if table.body else [],
    )


def say_collapses(seeds: int) -> str:
    """Return what seeds that all trained well leave possible."""
    return (
        f"And a collapse that no seed shows is not seen: {seeds} seeds without one leave a "
        f"probability of up to {most_collapses(seeds):.0%} possible."
    )


def flags_table(flags: pd.DataFrame, rows: pd.DataFrame) -> Table:
    """Return each flag of each architecture and regime, with its strengths."""
    body = []
    groups = flags.groupby([*GROUP[:2], "flag"], observed=True, sort=False)
    for (architecture, regime, flag), part in groups:
        every = rows[rows.architecture == architecture].drop_duplicates("alpha")
        where = "training" if flag == COLLAPSED else say_alphas(part, every)
        body.append([f"{architecture}, {regime}", flag, where])
    return Table("What is flagged, and where", ["Runs", "Flag", "Where"], body)
