"""The two numbers that the experiment is for, cost and tolerance, in words. No torch.

A line per architecture and regime, such as `cnn noisy: cost 0.19 ± 0.09 points (worse), tolerance
× 1.22 [1.14, 1.30] (better)`: what training costs without noise, and how much more noise the model
stands. It is first in the pages and last in the terminal.
"""

import math

import numpy as np
import pandas as pd

from analysis.endpoints import COST, RATIO, TOLERANCE
from analysis.intervals import baseline_of
from analysis.verdicts import MARGIN, UNRESOLVED, find_word
from machine.checks import number_of
from reporting.results import Results
from reporting.section import Section
from reporting.text import digits_of, span
from reporting.words import FLAGGED

INTRO = (
    "Cost: accuracy trained {baseline} minus trained in the regime, both without noise. "
    "Tolerance: the strength at which accuracy is halfway from its start to chance (α₅₀), in the "
    "regime over {baseline}. Means over {seeds}; the 95% intervals of one "
    "architecture hold together (t, Bonferroni over its {endpoints} numbers). Better and worse: "
    "the interval excludes no difference; equivalent: it lies inside ± one point, or 1/1.05 to "
    "1.05; else unresolved."
)
"""What the lines mean."""


def section(results: Results) -> Section:
    """Return the two endpoints of each architecture and regime."""
    table = results.endpoints
    sizes = sorted({*(2 * table.groupby("architecture", observed=True).regime.nunique())})
    seeds = number_of(span(table.seeds.min(), table.seeds.max()), "paired seed")
    baseline = baseline_of(results.rows)
    said = INTRO.format(baseline=baseline, endpoints=" or ".join(map(str, sizes)), seeds=seeds)
    return Section(
        "endpoints",
        intro=f"{said} {say_undertrained(results)}".strip() if len(table) else "",
        sentences={name: say_endpoints(table, name) for name in results.architectures},
        csv={"endpoints.csv": table},
    )


def say_undertrained(results: Results) -> str:
    """Return what more epochs are known to gain, and what that means for the numbers."""
    known = results.plan.undertrained
    return f"{known}, on validation images: part of such a cost is undertraining." if known else ""


def say_endpoints(table: pd.DataFrame, architecture: str) -> list[str]:
    """Return a line for each regime of an architecture."""
    mine = table[table.architecture == architecture]
    lines = []
    for regime, part in mine.groupby("regime", observed=True):
        both = part.set_index("endpoint")
        cost, tolerance = (both.loc[name].to_dict() for name in (COST, TOLERANCE))
        said = f"{say_cost(cost)}, {say_tolerance(tolerance)}"
        lines.append(f"{architecture} {regime}: {said}")
    return lines


def say_cost(found: dict) -> str:
    """Return the cost with its interval and its word."""
    if not found["seeds"]:
        return "cost not measured"
    half, digits = (found["high"] - found["low"]) / 2, 2
    if found["seeds"] > 1:
        digits = digits_of(-found["value_low"], half, found["verdict"], 100 * MARGIN)
    value = f"{found['value_low']:z.{digits}f}"
    if found["seeds"] > 1:
        value += f" ± {half:.{digits}f}"
    return f"cost {value} points ({say_word(found)})"


def say_tolerance(found: dict) -> str:
    """Return the tolerance with its interval and its word; in words what was not reached."""
    if not found["seeds"]:
        return "tolerance not measured"
    low, high = found["value_low"], found["value_high"]
    why = f"; α₅₀ of {found['not_reached']} not reached" if found["not_reached"] else ""
    if low == 0 and math.isinf(high):
        why = why or "; α₅₀ below the smallest strength"
        return f"tolerance not known ({say_word(found)}{why})"
    if low == high:
        value = ratio(low)
    elif low == 0 or math.isinf(high):
        value = f"{ratio(low)} or more" if low else f"{ratio(high)} or less"
    else:
        value = f"{ratio(low)} to {ratio(high)}"
    digits = ratio_digits(found)
    ends = [
        ratio(found["low"], digits) if found["low"] > 0 else "–",
        ratio(found["high"], digits) if found["high"] < math.inf else "–",
    ]
    interval = f" [{', '.join(ends)}]" if ends != ["–", "–"] and found["seeds"] > 1 else ""
    return f"tolerance × {value}{interval} ({say_word(found)}{why})"


def ratio(value: float, digits: int = 2) -> str:
    """Return a ratio with its decimals; a very large one, of two seeds or of times, in short."""
    return f"{value:.{digits}f}" if value < 1000 else f"{value:.1e}".replace("e+", "e")


def ratio_digits(found: dict) -> int:
    """Return with how many digits, two or more, the interval of a ratio bears out its word."""
    for digits in range(2, 8):
        ends = (np.log(max(round(found[name], digits), 1e-300)) for name in ("low", "high"))
        if find_word(*ends, np.log(RATIO)) == found["verdict"]:
            return digits
    return 2


def say_word(found: dict) -> str:
    """Return the verdict word, marked where data are flagged; why there can be none."""
    one = found["verdict"] == UNRESOLVED and found["seeds"] == 1
    mark = f" {FLAGGED}" if found.get("flags") else ""
    return "one seed, no verdict" if one else found["verdict"] + mark
