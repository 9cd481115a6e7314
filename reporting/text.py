"""The tables of the report: frames for the CSV files, and text for people. No torch.

A `Table` is plain text, written once and rendered by the templates as HTML, Markdown and LaTeX.
Accuracies and retention are fractions, differences are in points (0.01); "±" is the half-width of
a 95% t-interval over seeds.
"""

import math
from dataclasses import dataclass

import pandas as pd

from analysis import power
from analysis.verdicts import find_word


def find(table: pd.DataFrame, key: tuple) -> dict:
    """Return a row as a dictionary, empty where there is none."""
    return table.loc[key].to_dict() if key in table.index else {}


NONE = "–"


@dataclass(frozen=True)
class Table:
    """A table as text: the first cell of a row names it."""

    caption: str
    header: list[str]
    body: list[list[str]]


def align(table: Table) -> str:
    """Return a table as plain text: words to the left, numbers to the right."""
    left = {"Architecture", "Regime", "Parameter"}
    widths = [max(map(len, column)) for column in zip(table.header, *table.body, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(table.header, row, widths, strict=True)
        ).rstrip()
        for row in [table.header, *table.body]
    ]
    return "\n".join([table.caption, *lines] if table.caption else lines)


def number(value: float | None, digits: int = 4, scale: float = 1) -> str:
    """Return a number with fixed digits (never "-0.0000"), and a dash where there is none."""
    return NONE if value is None or pd.isna(value) else f"{scale * value:z.{digits}f}"


def with_half(found: dict, name: str, scale: float = 1, form: str = ".4f") -> str:
    """Return "mean ± half", without a minus before zero; the mean alone where one seed gives no
    interval."""
    value = found.get(name)
    if value is None or pd.isna(value):
        return NONE
    form = form.replace("z", "").replace(".", "z.")
    mean = f"{scale * value:{form}}"
    half = found["half"]
    return mean if pd.isna(half) else f"{mean} ± {scale * half:{form.removeprefix('+')}}"


def digits_of(value: float, half: float, word: str, margin: float) -> int:
    """Return with how many digits, two or more, "value ± half" still bears out its word: rounded,
    an interval may touch what it excludes."""
    for digits in range(2, 8):
        ends = (round(round(value, digits) + s * round(half, digits), digits) for s in (-1, 1))
        if find_word(*ends, margin) == word:
            return digits
    return 2


def span(low: float | None, high: float | None) -> str:
    """Return one whole number, or a range of two that differ."""
    if low is None or high is None:
        return NONE
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"


def bounds(found: dict, log: bool, signed: bool = False) -> str:
    """Return the bounds of a mean and its interval, like "> 1.8 [1.2, –] (n = 3, 1 censored)".

    Args:
        found: a row of `curves.metrics_over_seeds`; empty if there is none.
        log: whether the metric is positive, so that 0 is no bound at all.
        signed: whether to show a plus sign.
    """
    if not found or not found["seeds"]:
        return NONE
    lowest, highest = 0.0 if log else -math.inf, math.inf

    def text(value: float) -> str:
        return f"{value:+z.3g}" if signed else f"{value:z.3g}"

    low, high = found["mean_low"], found["mean_high"]
    if low == high:
        mean = text(low)
    elif low > lowest:
        mean = f"{text(low)} to {text(high)}" if high < highest else f"> {text(low)}"
    else:
        mean = f"< {text(high)}" if high < highest else "not known"
    low = text(found["low"]) if found["low"] > lowest else NONE
    high = text(found["high"]) if found["high"] < highest else NONE
    interval = f" [{low}, {high}]" if (low, high) != (NONE, NONE) else ""
    censored = f", {found['censored']:.0f} censored" if found["censored"] else ""
    return f"{mean}{interval} (n = {found['seeds']:.0f}{censored})"


def count(value: float) -> str:
    """Return a number of seeds; above the cap only that it is."""
    if pd.isna(value):
        return NONE
    return f"> {power.MOST}" if value > power.MOST else f"{value:.0f}"
