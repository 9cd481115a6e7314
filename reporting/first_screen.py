"""What a page shows first: cost, tolerance and verdicts by architecture, as facts. No torch."""

from typing import NamedTuple

import pandas as pd

from analysis.endpoints import COST, TOLERANCE
from analysis.intervals import baseline_of
from analysis.verdicts import BETTER, EQUIVALENT, UNRESOLVED, WORSE
from reporting.endpoints import say_cost, say_tolerance
from reporting.results import Results
from reporting.section import Section
from reporting.text import span
from reporting.words import points_of

SIGNS = {BETTER: "+", WORSE: "−", EQUIVALENT: "=", UNRESOLVED: "?"}
"""A sign beside each word and colour: neither ink nor eyes need tell colours apart."""
LABELS = 6
"""Strengths that have room below a strip."""
MEANINGS = {
    BETTER: "",
    WORSE: "",
    EQUIVALENT: " within one point",
    UNRESOLVED: "",
}


class Said(NamedTuple):
    """A number in words."""

    value: str
    word: str
    why: str
    """What else there is to say of it."""
    kind: str
    """One of `SIGNS`."""

    @property
    def sign(self) -> str:
        """The sign of the word."""
        return SIGNS[self.kind]

    @property
    def short(self) -> str:
        """The value for a narrow column, which says itself what it is of."""
        value, bracket, interval = self.value.removeprefix("× ").partition(" [")
        for words, sign in ((" or more", "≥ "), (" or less", "≤ ")):
            if value.endswith(words):
                value = sign + value.removesuffix(words)
        return value + bracket + interval


class Cell(NamedTuple):
    """A verdict at one strength."""

    strength: str
    kind: str
    effect: str
    labelled: bool
    """Whether its strength stands below it: labels do not touch."""

    @property
    def sign(self) -> str:
        """The sign of the word."""
        return SIGNS[self.kind]


class Line(NamedTuple):
    """The answer of one architecture and regime."""

    architecture: str
    regime: str
    cost: Said
    tolerance: Said
    strip: list[Cell]

    @property
    def said(self) -> str:
        """The strip for those who hear it."""
        return "; ".join(f"{cell.strength} {cell.kind}" for cell in self.strip)


class Answer(NamedTuple):
    """The table of the first screen."""

    baseline: str
    seeds: str
    """How many pairs the numbers are of: one number, or from least to most."""
    lines: list[Line]
    others: list[str]
    """Lines of architectures without pairs, and of single models."""
    words: list[tuple[str, str, str]]
    """Of each kind of verdict that there is: its word, sign and meaning."""


def first_answer(results: Results, sections: dict[str, Section]) -> Answer:
    """Return the two numbers and the verdicts by strength of each architecture and regime."""
    table, effects = sections["endpoints"].csv["endpoints.csv"], results.effects
    lines = []
    for (name, regime), part in table.groupby(["architecture", "regime"], observed=True):
        both = part.set_index("endpoint")
        mine = effects[(effects.architecture == name) & (effects.regime == regime)]
        cost, more = (both.loc[key].to_dict() for key in (COST, TOLERANCE))
        numbers = (
            take_apart(say_cost(cost), COST, cost),
            take_apart(say_tolerance(more), TOLERANCE, more),
        )
        lines.append(Line(name, regime, *numbers, strip(mine)))
    own = sections["over_draws"].sentences if "over_draws" in sections else {}
    others = [line for name in results.architectures for line in own.get(name, [])]
    told = {line.architecture for line in lines}
    for name in results.architectures:
        if name not in told and not own.get(name):
            others.append(f"{name}: no paired runs yet.")
    words = [(word, sign, MEANINGS[word]) for word, sign in SIGNS.items()]
    seeds = span(table.seeds.min(), table.seeds.max()) if lines else "0"
    return Answer(baseline_of(results.rows), seeds, lines, others, words)


def take_apart(said: str, name: str, found: dict) -> Said:
    """Return a sentence of `reporting.endpoints` as value, word and reason."""
    value, _, rest = said.removeprefix(name).strip().partition(" (")
    word, _, why = rest.removesuffix(")").partition("; ")
    return Said(value, word, why, found["verdict"])


def strip(effects: pd.DataFrame) -> list[Cell]:
    """Return the verdicts of one architecture and regime, by rising strength."""
    rows = effects.sort_values("alpha").to_dict("records")
    every = max(1, -(-len(rows) // LABELS))
    last = len(rows) - 1
    return [
        Cell(
            f"{row['alpha']:g}",
            row["verdict"],
            f"{points_of(row)} points",
            n == 0 or ((last - n) % every == 0 and (n >= every or n == last)),
        )
        for n, row in enumerate(rows)
    ]
