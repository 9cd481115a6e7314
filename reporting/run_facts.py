"""The facts of each run, which the points of a curve lead to. No torch."""

from typing import NamedTuple

import pandas as pd

from analysis.intervals import RUN
from reporting.results import Results
from reporting.section import Section
from reporting.summary import SUMMARY
from reporting.text import number
from store.records import Record

MOST = 8
"""Values of a list that are shown."""


class RunFacts(NamedTuple):
    """A row of the page's table of runs."""

    run_id: str
    cells: list[str]
    """Architecture, regime, seed, and the columns of the summary."""
    facts: list[tuple[str, str]]


HEADER = ["Run", "Architecture", "Regime", "Seed", *SUMMARY.values()]


def run_facts(results: Results, sections: dict[str, Section]) -> list[RunFacts]:
    """Return every run that has a record, in table order."""
    summary = sections["summary"].csv["summary.csv"].set_index(RUN)
    found = []
    for record in results.records:
        key = tuple(record["identity"][name] for name in RUN)
        row = summary.loc[key]
        cells = [*map(str, key), *(number(row[name]) for name in SUMMARY)]
        found.append(RunFacts(record["run_id"], cells, facts_of(record)))
    return found


def facts_of(record: Record) -> list[tuple[str, str]]:
    """Return what a record says of itself: identity, losses, provenance; not its measurements."""
    parts = {
        "": {k: v for k, v in record["identity"].items() if k not in RUN},
        "loss by epoch": record["history"],
        "weights": record["weights"],
    }
    flat = pd.json_normalize({**parts.pop(""), **parts, **record["provenance"]}).iloc[0]
    return [(name.replace(".", ", "), shown(value)) for name, value in flat.items()]


def shown(value) -> str:
    """Return a value as text; of a long list the first and last."""
    if not isinstance(value, list):
        return f"{value:g}" if isinstance(value, float) else str(value)
    texts = [shown(v) for v in value]
    if len(texts) > MOST:
        texts = [*texts[: MOST // 2], "…", *texts[-MOST // 2 :]]
    return " ".join(texts)
